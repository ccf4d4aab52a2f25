"""The collection's tarball contains the product and nothing else. It can be used from an empty folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the collection and install it into a folder, as a user does. Return the folder."""
    into = tmp_path_factory.mktemp("collection user")
    script = '. "$0/scripts/lib.sh"; install_collection "$1"'
    subprocess.run(["bash", "-c", script, str(ROOT), str(into)], check=True, capture_output=True, timeout=120)
    return into


def test_the_tarball_holds_the_product_only(installed: Path) -> None:
    (tarball,) = (installed / "tarball").glob("*.tar.gz")
    with tarfile.open(tarball) as archive:
        members = archive.getmembers()
    tops = {member.name.split("/")[0] for member in members}
    assert {
        "roles",
        "playbooks",
        "plugins",
        "files",
        "meta",
        "requirements.lock",
        "README.md",
        "CONTRIBUTING.md",  # README.md links to these three
        "SECURITY.md",
        "CODE_OF_CONDUCT.md",
        "LICENSE",
        "MANIFEST.json",
        "FILES.json",
    } <= tops
    assert not tops & {"tests", "sandbox", "scripts", "inventory", "extensions", "collections", "build", "site.yml"}
    assert not {name for name in tops if name.startswith(".")}
    assert not [member.name for member in members if member.issym() or member.islnk()]
    assert not [
        member.name for member in members if "__pycache__" in member.name or member.name.endswith((".pyc", ".egg-info"))
    ]


def test_the_same_files_give_the_same_bytes_in_another_folder_at_another_time(installed: Path, tmp_path: Path) -> None:
    (tarball,) = (installed / "tarball").glob("*.tar.gz")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    copy = tmp_path / "another checkout"
    for name in reversed(listed.stdout.splitlines()):  # creates the files in another order
        if (ROOT / name).is_file() and not (ROOT / name).is_symlink():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
            os.utime(copy / name, (0, 0))
    again = subprocess.run(
        [copy / "scripts/build", tmp_path / "built"], check=True, capture_output=True, text=True, timeout=120
    )
    assert Path(again.stdout.strip()).read_bytes() == tarball.read_bytes()


def test_the_installed_playbooks_are_found_by_name_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    names = ("site", "destroy")
    done = subprocess.run(
        ["ansible-playbook", *(f"lowlatency.trading.{name}" for name in names), "-i", "localhost,", "--syntax-check"],
        cwd=tmp_path,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(installed), "ANSIBLE_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    checked = [line.partition(": ")[2] for line in done.stdout.splitlines() if line.startswith("playbook: ")]
    folder = installed / "ansible_collections/lowlatency/trading/playbooks"
    assert checked == [str(folder / f"{name}.yml") for name in names]
