import os
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


# A fake mmdebstrap that records its arguments. It finds the suite bullseye only at the address of Debian's archive.
MMDEBSTRAP = """#!/bin/sh
echo "$*" >> "$ASKED"
case "$*" in *bullseye*archive.debian.org*) mkdir -p "$TREE"; exit 0 ;; esac
echo "E: no Release file"; exit 100
"""


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace mmdebstrap by a script. Return the file to which the script writes its arguments."""
    program, asked, keyring = tmp_path / "bin/mmdebstrap", tmp_path / "asked", tmp_path / "keyring"
    program.parent.mkdir()
    program.write_text(MMDEBSTRAP)
    program.chmod(0o755)
    keyring.touch()
    monkeypatch.setattr(image, "KEYRING", keyring)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("ASKED", str(asked))
    monkeypatch.setenv("TREE", str(tmp_path / "tree"))
    return asked


def test_a_suite_that_the_mirrors_have_dropped_comes_from_the_archive(tmp_path: Path, mirror: Path) -> None:
    image._install(image.RECIPES["bullseye"], tmp_path / "tree")
    first, second = mirror.read_text().splitlines()
    assert first.endswith(f"bullseye {tmp_path}/tree")
    assert second.endswith(f"bullseye {tmp_path}/tree http://archive.debian.org/debian")
    assert "Acquire::Check-Valid-Until false" in second


def test_a_suite_that_can_be_had_nowhere_is_told_with_the_end_of_the_log(tmp_path: Path, mirror: Path) -> None:
    with pytest.raises(SandboxError, match=r"could not be built.*\n.*no Release file"):
        image._install(image.CONTAINER, tmp_path / "tree")
    assert len(mirror.read_text().splitlines()) == 1


def test_another_package_or_file_makes_another_image() -> None:
    other_package = replace(image.CONTAINER, packages=(*image.CONTAINER.packages, "cowsay"))
    other_file = replace(image.CONTAINER, files={**image.CONTAINER.files, "etc/motd": "moo"})
    assert len({recipe.name for recipe in (other_package, other_file, *image.RECIPES.values())}) == 5
