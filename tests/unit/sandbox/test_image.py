from pathlib import Path

import pytest
from embedded_ec2 import image
from embedded_ec2.errors import SandboxError


def test_a_complete_image_is_taken_as_it_is(tmp_path: Path) -> None:
    complete = tmp_path / f"{image.SUITE}-{image.recipe_digest()}"
    complete.mkdir()
    said: list[str] = []
    assert image.ensure_image(said.append, tmp_path) == complete
    assert said == []


def test_a_torn_build_is_never_taken_for_an_image(tmp_path: Path) -> None:
    torn = tmp_path / f"{image.SUITE}-{image.recipe_digest()}.unfinished"
    (torn / "usr").mkdir(parents=True)
    with pytest.raises(SandboxError, match="lacks usr/sbin/sshd"):
        image.check(torn)


def test_a_full_disk_is_named_with_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "NEEDED_BYTES", 2**62)
    with pytest.raises(SandboxError, match=f"{tmp_path} has .* GB free"):
        image.ensure_image(lambda _: None, tmp_path)
    assert not list(tmp_path.glob("*-*"))


def test_another_package_makes_another_image(monkeypatch: pytest.MonkeyPatch) -> None:
    before = image.recipe_digest()
    monkeypatch.setattr(image, "PACKAGES", (*image.PACKAGES, "cowsay"))
    assert image.recipe_digest() != before
