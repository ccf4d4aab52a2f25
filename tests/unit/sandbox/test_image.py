from dataclasses import replace
from pathlib import Path

import pytest
from embedded_ec2 import image
from embedded_ec2.errors import SandboxError


def test_a_complete_image_is_taken_as_it_is(tmp_path: Path) -> None:
    complete = tmp_path / image.CONTAINER.name
    complete.mkdir()
    said: list[str] = []
    assert image.ensure_image(image.CONTAINER, said.append, tmp_path) == complete
    assert said == []


def test_a_torn_build_is_never_taken_for_an_image(tmp_path: Path) -> None:
    torn = tmp_path / f"{image.CONTAINER.name}.tree"
    (torn / "usr").mkdir(parents=True)
    with pytest.raises(SandboxError, match="lacks usr/sbin/sshd"):
        image.check(image.CONTAINER, torn)


def test_a_full_disk_is_named_with_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "NEEDED_BYTES", 2**62)
    with pytest.raises(SandboxError, match=f"{tmp_path} has .* GB free"):
        image.ensure_image(image.CONTAINER, lambda _: None, tmp_path)
    assert not list(tmp_path.glob("*-*"))


def test_another_package_or_file_makes_another_image() -> None:
    other_package = replace(image.CONTAINER, packages=(*image.CONTAINER.packages, "cowsay"))
    other_file = replace(image.CONTAINER, files={**image.CONTAINER.files, "etc/motd": "moo"})
    assert len({recipe.name for recipe in (other_package, other_file, *image.RECIPES.values())}) == 5
