"""A release: collected on the controller, installed on the host, named by its content."""

from __future__ import annotations

import ensurepip
import hashlib
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.module_utils import release

RunModule = Callable[..., dict[str, Any]]

PYPROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "greeter"
version = "1.0"
[project.scripts]
greet = "greeter:main"
[tool.setuptools]
py-modules = ["greeter"]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python project that prints a greeting and whose lock names pip alone, found without a network."""
    directory = tmp_path / "a project"
    directory.mkdir()
    (directory / "pyproject.toml").write_text(PYPROJECT)
    lock_pip(directory / "requirements.lock", monkeypatch)
    write_greeting(directory, "hello")
    return directory


def lock_pip(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (wheel,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock.write_text(f"pip=={wheel.name.split('-')[1]} --hash=sha256:{digest}\n")


def write_greeting(project: Path, greeting: str) -> None:
    (project / "greeter.py").write_text(f"def main() -> None:\n    print({greeting!r})\n")


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of all tests here: archives are named by content, so each is built once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def collect(run_module: RunModule, shared_cache: Path, project: Path) -> Callable[..., dict[str, Any]]:
    def run(check: bool = False, **changes: str) -> dict[str, Any]:
        host = {"python_version": "3.11", "architecture": "x86_64", "cache_dir": str(shared_cache)}
        source = {} if "wheel_dir" in changes else {"project": str(project)}
        return run_module("wheel_set", check, **{**host, **source, **changes})

    return run


@pytest.fixture
def install(run_module: RunModule, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def run(**arguments: object) -> dict[str, Any]:
        return run_module("python_release", root=str(tmp_path / "opt"), python=sys.executable, **arguments)

    return run


def greeting(root: Path) -> str:
    return subprocess.run([root / "current/bin/greet"], capture_output=True, text=True, check=True).stdout.strip()


def test_a_release_is_built_once_and_never_beside_its_sources(
    collect: Callable[..., dict[str, Any]], project: Path, tmp_path: Path
) -> None:
    cache, sources = tmp_path / "cache", sorted(project.rglob("*"))
    planned = collect(check=True, cache_dir=str(cache))
    assert planned["changed"]
    assert not cache.exists()
    made, found = collect(cache_dir=str(cache)), collect(cache_dir=str(cache))
    assert (made["changed"], found["changed"]) == (True, False)
    assert made["release"] == found["release"] == planned["release"]
    assert Path(made["archive"]).is_file()
    assert sorted(project.rglob("*")) == sources


def test_an_edited_project_needs_no_second_download(
    collect: Callable[..., dict[str, Any]], project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect(cache_dir=str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    write_greeting(project, "good evening")
    assert collect(cache_dir=str(tmp_path / "cache"))["changed"]


@pytest.mark.parametrize("change", [{"architecture": "aarch64"}, {"python_version": "3.12"}])
def test_each_kind_of_host_has_a_release_of_its_own(
    collect: Callable[..., dict[str, Any]], change: dict[str, str]
) -> None:
    assert collect(check=True)["release"] != collect(check=True, **change)["release"]


def test_edited_source_is_another_release_and_caches_are_no_source(
    collect: Callable[..., dict[str, Any]], project: Path
) -> None:
    before = collect(check=True)["release"]
    (project / "__pycache__").mkdir()
    (project / "__pycache__" / "greeter.pyc").write_bytes(b"compiled")
    assert collect(check=True)["release"] == before
    write_greeting(project, "good day")
    assert collect(check=True)["release"] != before


def test_an_unreachable_index_is_named_with_what_to_do(
    collect: Callable[..., dict[str, Any]], project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    (project / "requirements.lock").write_text(f"absent==1.0 --hash=sha256:{'0' * 64}\n")
    report = collect(cache_dir=str(tmp_path / "cache"))
    assert report["failed"]
    assert "requirements.lock for Python 3.11 on x86_64" in report["msg"]
    assert "Connection refused" in report["msg"]
    assert "PIP_INDEX_URL" in report["msg"]
    assert not list((tmp_path / "cache").glob("*.tar"))


def test_ready_wheels_are_taken_as_they_are(
    collect: Callable[..., dict[str, Any]], install: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    wheels = tmp_path / "ready"
    wheels.mkdir()
    with tarfile.open(collect()["archive"]) as archive:
        for member in archive.getmembers():
            if member.name.endswith(".whl"):
                archive.extract(member, wheels, filter="data")
    ready = collect(wheel_dir=str(wheels))
    assert not install(**{key: ready[key] for key in ("release", "archive")}).get("failed")
    assert greeting(tmp_path / "opt") == "hello"


def test_a_directory_without_wheels_is_refused(collect: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    report = collect(wheel_dir=str(tmp_path))
    assert report["failed"]
    assert "holds no wheel" in report["msg"]


def test_a_release_runs_is_kept_and_can_be_gone_back_to(
    collect: Callable[..., dict[str, Any]], install: Callable[..., dict[str, Any]], project: Path, tmp_path: Path
) -> None:
    old = collect()
    assert install(release=old["release"], archive=old["archive"])["changed"]
    assert not install(release=old["release"], archive=old["archive"])["changed"]
    assert greeting(tmp_path / "opt") == "hello"

    write_greeting(project, "good day")
    new = collect()
    report = install(release=new["release"], archive=new["archive"])
    assert (report["release"], report["before"]) == (new["release"], old["release"])
    assert greeting(tmp_path / "opt") == "good day"

    assert install(release="previous")["release"] == old["release"]
    assert greeting(tmp_path / "opt") == "hello"


def test_a_damaged_wheel_is_refused_and_what_was_in_force_stays(
    collect: Callable[..., dict[str, Any]], install: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    in_force = tmp_path / "opt/releases/before"
    in_force.mkdir(parents=True)
    (tmp_path / "opt/current").symlink_to("releases/before")
    made = collect()
    content = bytearray(Path(made["archive"]).read_bytes())
    content[content.index(b"PK\x03\x04") + 40] ^= 1
    (tmp_path / "damaged.tar").write_bytes(content)

    report = install(release=made["release"], archive=str(tmp_path / "damaged.tar"))
    assert report["failed"]
    assert "sha256 differs for greeter-1.0-py3-none-any.whl" in report["msg"]
    assert (tmp_path / "opt/current").resolve() == in_force
    assert not (tmp_path / "opt/releases" / made["release"]).exists()


def test_an_interrupted_installation_is_made_again(
    collect: Callable[..., dict[str, Any]], install: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    made = collect()
    half = tmp_path / "opt/releases" / made["release"] / "bin"
    half.mkdir(parents=True)
    (half / "greet").write_text("half of a script")
    assert install(release=made["release"], archive=made["archive"])["changed"]
    assert greeting(tmp_path / "opt") == "hello"


def test_a_program_that_cannot_start_is_never_put_in_force(
    collect: Callable[..., dict[str, Any]], install: Callable[..., dict[str, Any]], project: Path, tmp_path: Path
) -> None:
    with (project / "greeter.py").open("a") as source:
        source.write("import somewhere_else\n")
    made = collect()
    report = install(release=made["release"], archive=made["archive"], programs=["greet"])
    assert report["failed"]
    assert "cannot start greet" in report["msg"]
    assert "somewhere_else" in report["msg"]
    assert not (tmp_path / "opt/current").exists()


def test_an_unknown_release_without_an_archive_is_refused(install: Callable[..., dict[str, Any]]) -> None:
    assert "no archive was given" in install(release="0123456789abcdef")["msg"]
    assert "no release to go back to" in install(release="previous")["msg"]


def test_only_old_releases_that_nobody_uses_are_removed() -> None:
    installed_s = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "e": 5.0}
    assert release.superseded(installed_s, in_use={"e", "a"}, keep=3) == ["b", "c"]
    assert release.superseded(installed_s, in_use={"e"}, keep=9) == []
    assert release.superseded(installed_s, in_use={"e", "d"}, keep=1) == ["a", "b", "c"]
