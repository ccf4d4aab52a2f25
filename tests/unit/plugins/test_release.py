"""A release is collected on the controller and installed on a host. Its name is a digest of its content."""

from __future__ import annotations

import base64
import ensurepip
import hashlib
import importlib.metadata
import importlib.util
import json
import marshal
import os
import platform
import struct
import subprocess
import sys
import sysconfig
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.module_utils.release import compiling, release
from ansible_collections.lowlatency.trading.plugins.modules import python_release, wheel_set
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

RunModule = Callable[..., dict[str, Any]]
Run = Callable[..., dict[str, Any]]

PYPROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "greeter"
version = "1.0"
[tool.setuptools]
py-modules = ["greeter"]
"""
# Distributions keep the wheels of ensurepip in another directory than Python itself does.
_WHEELS = sysconfig.get_config_var("WHEEL_PKG_DIR") or Path(ensurepip.__file__).parent / "_bundled"
(PIP_WHEEL,) = Path(_WHEELS).glob("pip-*.whl")
OWN_VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
OWN_TAG = f"cp{OWN_VERSION.replace('.', '')}-none-linux_{platform.machine()}"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory of a Python project. Its lock file contains only pip, so that no network is needed."""
    directory = tmp_path / "a project"
    directory.mkdir()
    digest = hashlib.sha256(PIP_WHEEL.read_bytes()).hexdigest()
    (directory / "requirements.lock").write_text(f"pip=={PIP_WHEEL.name.split('-')[1]} --hash=sha256:{digest}\n")
    (directory / "pyproject.toml").write_text(PYPROJECT)
    (directory / "greeter.py").write_text("def main() -> None: print('hello')\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(PIP_WHEEL.parent))
    return directory


@pytest.fixture
def collect(run_module: RunModule, tmp_path: Path) -> Run:
    def run(check: bool = False, **arguments: str) -> dict[str, Any]:
        host = {"python_version": "3.11", "architecture": "x86_64", "cache_dir": str(tmp_path / "cache")}
        return run_module("wheel_set", check, **{**host, **arguments})

    return run


@pytest.fixture
def at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `collect` work without pip: the wheels are already in a directory.

    These are the wheels of the lock file and the project's pure wheel. pip still builds a compiled wheel.
    """
    directory = tmp_path / "at hand"
    directory.mkdir()
    (directory / PIP_WHEEL.name).symlink_to(PIP_WHEEL)
    build = wheel_set.build_project

    def quick_build(module: Any, project: Path, scratch: Path, to: Path, environment: Any = None) -> None:
        if environment:
            build(module, project, scratch, to, environment)
        else:
            write_wheel(to / "greeter-1.0-py3-none-any.whl", saying("hello"))

    monkeypatch.setattr(wheel_set, "dependencies", lambda *_: directory)
    monkeypatch.setattr(wheel_set, "build_project", quick_build)


@pytest.fixture
def install(run_module: RunModule, tmp_path: Path) -> Run:
    def run(**arguments: object) -> dict[str, Any]:
        return run_module("python_release", **{"root": str(tmp_path / "opt"), "python": sys.executable, **arguments})

    return run


@pytest.fixture(scope="session")
def compiled_pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return pip's wheel with bytecode added. With bytecode, pip starts in a third of the time."""
    path = tmp_path_factory.mktemp("pip") / PIP_WHEEL.name
    with zipfile.ZipFile(PIP_WHEEL) as original, zipfile.ZipFile(path, "w") as wheel:
        for member in original.infolist():
            source = original.read(member)
            wheel.writestr(member, source)
            if member.filename.endswith(".py"):
                changed_s = int(time.mktime((*member.date_time, -1, -1, -1)))
                head = importlib.util.MAGIC_NUMBER + struct.pack("<III", 0, changed_s, len(source))
                code = marshal.dumps(compile(source, member.filename, "exec", dont_inherit=True))
                wheel.writestr(zipfile.ZipInfo(f"{member.filename}c", member.date_time), head + code)
    return path


@pytest.fixture
def greeter(collect: Run, compiled_pip: Path, tmp_path: Path) -> Run:
    """Return a function that collects a release with two parts: pip, and a program `greet`.

    The function gets the program's source. It returns the release's name and archive.
    """

    def make(source: str, compiled: str = "") -> dict[str, Any]:
        directory = tmp_path / hashlib.sha256((source + compiled).encode()).hexdigest()
        directory.mkdir()
        (directory / compiled_pip.name).symlink_to(compiled_pip)
        write_wheel(directory / "greeter-1.0-py3-none-any.whl", source)
        if compiled:
            write_wheel(directory / f"greeter-1.0-{OWN_TAG}.whl", compiled, OWN_TAG)
        made = collect(wheel_dir=str(directory))
        return {"release": made["release"], "archive": made["archive"]}

    return make


def write_wheel(path: Path, source: str, tag: str = "py3-none-any") -> None:
    """Write a wheel that installs a program `greet` with this source."""
    files = {
        "greeter.py": source,
        "greeter-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: greeter\nVersion: 1.0\nLicense: MIT\n",
        "greeter-1.0.dist-info/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
        "greeter-1.0.dist-info/entry_points.txt": "[console_scripts]\ngreet = greeter:main\n",
    }
    record = []
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record.append(f"{name},sha256={digest},{len(text)}")
    files["greeter-1.0.dist-info/RECORD"] = "\n".join([*record, "greeter-1.0.dist-info/RECORD,,"]) + "\n"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(zipfile.ZipInfo(name), text)


def saying(words: str) -> str:
    return f"def main() -> None:\n    print({words!r})\n"


def greeting(root: Path) -> str:
    return subprocess.run([root / "current/bin/greet"], capture_output=True, text=True, check=True).stdout.strip()


# Settings that some users have in pip.conf. With each of them, pip fails or, without an error, installs to another
# place.
OTHER_PEOPLES = """\
[global]
user = true
target = {0}/t
prefix = {0}/p
root = {0}/r
require-hashes = true
dry-run = true
"""


def test_a_release_is_built_once_never_beside_its_sources_and_downloaded_once(
    collect: Run, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of the controller's settings of pip, only those for the index of packages apply.
    conf = tmp_path / "pip.conf"
    conf.write_text(f"{OTHER_PEOPLES.format(tmp_path)}no-binary = :all:\nfind-links = {PIP_WHEEL.parent}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(conf))
    monkeypatch.delenv("PIP_FIND_LINKS")
    sources = sorted(project.rglob("*"))
    planned = collect(check=True, project=str(project))
    assert planned["changed"]
    assert not (tmp_path / "cache").exists()
    made, found = collect(project=str(project)), collect(project=str(project))
    assert (made["changed"], found["changed"]) == (True, False)
    assert made["release"] == found["release"] == planned["release"]
    with tarfile.open(made["archive"]) as archive:
        assert archive.getnames() == ["greeter-1.0-py3-none-any.whl", "manifest.json", PIP_WHEEL.name]
    assert sorted(project.rglob("*")) == sources

    conf.write_text(f"[global]\nfind-links = {tmp_path}/nowhere\n")
    monkeypatch.setattr(wheel_set, "build_project", lambda *_: None)
    (project / "greeter.py").write_text("def main() -> None: print('good evening')\n")
    (tmp_path / "cache/.making-by-one-that-was-killed").mkdir()
    assert collect(project=str(project))["changed"]
    assert not list((tmp_path / "cache").glob(".making-*"))


@pytest.mark.parametrize("change", [{"architecture": "aarch64"}, {"python_version": "3.12"}])
def test_each_kind_of_host_has_a_release_of_its_own(collect: Run, project: Path, change: dict[str, str]) -> None:
    one, other = (collect(check=True, project=str(project), **arguments)["release"] for arguments in ({}, change))
    assert one != other


def test_edited_source_is_another_release_and_caches_are_no_source(collect: Run, project: Path) -> None:
    before = collect(check=True, project=str(project))["release"]
    (project / "__pycache__").mkdir()
    (project / "__pycache__" / "greeter.pyc").write_bytes(b"compiled")
    assert collect(check=True, project=str(project))["release"] == before
    (project / "greeter.py").write_text("def main() -> None: print('good day')\n")
    assert collect(check=True, project=str(project))["release"] != before


SETUP = """\
import os
from setuptools import Extension, setup
compiled = os.environ.get("TRADING_ENGINE_COMPILED") == "1"
setup(ext_modules=[Extension("quick", ["quick.c"])] if compiled else [])
"""
QUICK = """\
#include <Python.h>
static struct PyModuleDef quick = {PyModuleDef_HEAD_INIT, "quick", NULL, -1, NULL};
PyMODINIT_FUNC PyInit_quick(void) { return PyModule_Create(&quick); }
"""
OWN_KIND = {"python_version": OWN_VERSION, "architecture": platform.machine()}


@pytest.mark.skipif(platform.machine() not in ("aarch64", "x86_64"), reason="no kind of host")
def test_a_release_is_compiled_where_that_was_asked_for(
    collect: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheel_set, "dependencies", lambda *_: PIP_WHEEL.parent)
    (project / "setup.py").write_text(SETUP)
    (project / "quick.c").write_text(QUICK)
    made = {
        choice: collect(choice == "never", project=str(project), compiled=choice, **OWN_KIND)
        for choice in ("auto", "always", "never")
    }
    assert not made["always"]["changed"]
    assert {choice: report["compiled"] for choice, report in made.items()} == {
        "never": False, "auto": True, "always": True,
    }  # fmt: skip
    assert made["auto"]["release"] == made["always"]["release"] != made["never"]["release"]
    with tarfile.open(made["auto"]["archive"]) as archive:
        names = archive.getnames()
    assert any(name.startswith("greeter-1.0-cp") for name in names)
    assert "greeter-1.0-py3-none-any.whl" in names  # for hosts on which the compiled wheel fails


@pytest.fixture
def no_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda name, *more, **named: str(tmp_path / "no such directory"))


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: "no-such-compiler")


@pytest.fixture
def no_mypyc(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "mypyc" else find(name, *more))


@pytest.fixture
def on_darwin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")


@pytest.mark.parametrize(
    ("obstacle", "told"),
    [
        ("no_headers", "has no headers of Python"),
        ("no_compiler", "has no C compiler no-such-compiler"),
        ("no_mypyc", "has no mypyc; install mypy there"),
        ("on_darwin", "runs Darwin; run Ansible on Linux"),
    ],
)
def test_what_cannot_be_compiled_here_is_pure_with_a_warning_or_refused(
    obstacle: str, told: str, collect: Run, project: Path, request: pytest.FixtureRequest
) -> None:
    pure = collect(check=True, project=str(project), **OWN_KIND)["release"]
    request.getfixturevalue(obstacle)
    report = collect(check=True, project=str(project), compiled="auto", **OWN_KIND)
    assert (report["release"], report["compiled"]) == (pure, False)
    assert told in report["reason"]
    assert "the engine is not compiled for Python" in str(report["warnings"])
    assert told in str(report["warnings"])
    refused = collect(project=str(project), compiled="always", **OWN_KIND)
    assert refused["failed"]
    assert told in refused["msg"]


def test_another_version_of_python_is_not_compiled_for(collect: Run, project: Path) -> None:
    older = collect(project=str(project), compiled="always", **{**OWN_KIND, "python_version": "3.10"})
    assert f"Ansible runs on Python {OWN_VERSION} here and the host has 3.10" in older["msg"]


OTHER_KIND = {**OWN_KIND, "architecture": "x86_64" if platform.machine() == "aarch64" else "aarch64"}


def test_a_controller_without_the_cross_compiler_takes_the_pure_wheel_and_says_how_to_get_it(
    at_hand: None, collect: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "ziglang" else find(name, *more)
    )
    pure = collect(check=True, project=str(project), **OTHER_KIND)["release"]
    report = collect(project=str(project), compiled="auto", **OTHER_KIND)
    assert (report["release"], report["compiled"]) == (pure, False)
    assert Path(report["archive"]).is_file()
    assert "has no ziglang, which compiles for other architectures; install it there" in report["reason"]

    # The lock file names a version of the compiler, but no index that the controller can reach has this version.
    (project / "requirements-cross.lock").write_text(f"ziglang==0.17.1 --hash=sha256:{'0' * 64}\n")
    refused = collect(project=str(project), compiled="always", **OTHER_KIND)
    assert "cannot fetch the compiler for other architectures" in refused["msg"]
    assert "PIP_INDEX_URL" in refused["msg"]


@pytest.mark.parametrize(("version", "told"), [("1.19.1", "has mypy 1.19.1; install 1.20"), ("1.20.0", "")])
def test_a_mypy_that_knows_no_acyclic_classes_is_too_old(
    version: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version if name == "mypy" else installed(name))
    reason = compiling.obstacle(OWN_VERSION, platform.machine())
    assert told in reason if told else reason == ""


def test_a_compilation_that_fails_leaves_auto_with_a_pure_release(at_hand: None, collect: Run, project: Path) -> None:
    (project / "setup.py").write_text(SETUP)
    (project / "quick.c").write_text("this is not C")
    report = collect(project=str(project), compiled="auto", **OWN_KIND)
    assert report["compiled"] is False
    assert "quick.c:1:1: error: unknown type name" in report["reason"]
    assert "the engine is not compiled" in str(report["warnings"])
    assert Path(report["archive"]).is_file()


def test_a_project_that_cannot_be_compiled_says_so(
    at_hand: None, collect: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ignore(module: Any, project: Path, scratch: Path, to: Path, environment: Any = None) -> None:
        write_wheel(to / "greeter-1.0-py3-none-any.whl", saying("hello"))

    monkeypatch.setattr(wheel_set, "build_project", ignore)
    report = collect(project=str(project), compiled="always", **OWN_KIND)
    assert report["failed"]
    assert "was to be compiled and is not" in report["msg"]


def test_an_unreachable_index_is_named_with_what_to_do(
    collect: Run, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    report = collect(project=str(project))
    assert report["failed"]
    assert "requirements.lock for Python 3.11 on x86_64" in report["msg"]
    assert "Connection refused" in report["msg"]
    assert "PIP_INDEX_URL" in report["msg"]
    assert not list((tmp_path / "cache").glob("*.tar"))


def test_wheels_that_cannot_be_a_release_are_refused(collect: Run, tmp_path: Path) -> None:
    assert "holds no wheel" in collect(wheel_dir=str(tmp_path))["msg"]
    write_wheel(tmp_path / "greeter-1.0-py3-none-any.whl", saying("hello"))
    assert "no wheel of pip" in collect(wheel_dir=str(tmp_path))["msg"]


def test_an_archive_that_is_there_already_is_taken_as_it_is(greeter: Run, collect: Run, tmp_path: Path) -> None:
    made = greeter(saying("hello"), saying("compiled"))
    kept = tmp_path / "from a bucket.tar"
    Path(made["archive"]).rename(kept)
    taken = collect(archive=str(kept), compiled="always", architecture=platform.machine())
    assert (taken["changed"], taken["release"], taken["archive"]) == (False, made["release"], str(kept))
    assert taken["compiled"] is True
    assert "parameters are mutually exclusive" in collect(archive=str(kept), project=str(tmp_path))["msg"]


@pytest.mark.parametrize(
    ("wheel", "fits"),
    [
        ("uvloop-1-cp311-cp311-manylinux_2_28_x86_64.whl", True),
        ("engine-1-py3-none-any.whl", True),
        ("any-1-cp39-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", True),
        ("any-1-cp39-abi3-manylinux_2_17_aarch64.manylinux2014_aarch64.whl", False),
        ("uvloop-1-cp313-cp313-manylinux_2_28_x86_64.whl", False),
        ("engine-1-cp311-cp311-linux_aarch64.whl", False),
    ],
)
def test_an_archive_for_another_kind_of_host_is_refused(collect: Run, tmp_path: Path, wheel: str, fits: bool) -> None:
    archive = tmp_path / "archive.tar"
    other_name("a" * 16, wheel)(archive)
    report = collect(archive=str(archive))
    if fits:
        assert report["release"] == "a" * 16
    else:
        assert f"{wheel} does not fit Python 3.11 on x86_64" in report["msg"]
        assert "-e aws_backup_release=controller" in report["msg"]


def other_name(name: str, *wheels: str) -> Callable[[Path], None]:
    def write(archive: Path) -> None:
        with tarfile.open(archive, "w") as packed:
            manifest = archive.with_name("manifest.json")
            manifest.write_text(json.dumps({"release": name, "wheels": dict.fromkeys(wheels, "")}))
            packed.add(manifest, "manifest.json")

    return write


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda archive: None, "cannot be read: No such file"),
        (lambda archive: archive.write_bytes(b"no archive"), "no archive of a release's wheels"),
        (lambda archive: tarfile.open(archive, "w").close(), "no archive of a release's wheels"),
        (other_name("../../etc"), "../../etc is no release's name"),
    ],
    ids=["missing", "garbage", "empty", "name"],
)
def test_what_is_no_archive_of_a_release_is_refused(
    collect: Run, tmp_path: Path, write: Callable[[Path], None], said: str
) -> None:
    archive = tmp_path / "archive.tar"
    write(archive)
    assert said in collect(archive=str(archive))["msg"]


def test_a_release_runs_is_kept_and_can_be_gone_back_to(greeter: Run, install: Run, tmp_path: Path) -> None:
    old, new = greeter(saying("hello")), greeter(saying("good day"))
    half = tmp_path / "opt/releases" / old["release"] / "bin"  # left by an interrupted installation
    half.mkdir(parents=True)
    (half / "greet").write_text("half of a script")

    assert install(**old)["changed"]
    assert not install(**old)["changed"]
    assert greeting(tmp_path / "opt") == "hello"

    report = install(**new)
    assert (report["release"], report["before"]) == (new["release"], old["release"])
    assert greeting(tmp_path / "opt") == "good day"

    assert install(release="previous")["release"] == old["release"]
    assert greeting(tmp_path / "opt") == "hello"
    assert not install(release="previous")["changed"]  # a second rollback does not return to the new release
    assert greeting(tmp_path / "opt") == "hello"

    assert install(release=new["release"])["before"] == old["release"]
    assert greeting(tmp_path / "opt") == "good day"

    # A release that is only installed changes no link and removes no other release.
    third = greeter(saying("good evening"))
    report = install(**third, put_in_force=False, keep=1)
    assert (report["changed"], report["release"], report["removed"]) == (True, third["release"], [])
    assert greeting(tmp_path / "opt") == "good day"
    assert not install(**third, put_in_force=False)["changed"]
    assert install(release="previous")["release"] == old["release"]
    assert install(**third)["before"] == old["release"]
    assert greeting(tmp_path / "opt") == "good evening"


def test_a_release_is_installed_whatever_settings_of_pip_the_host_has(
    greeter: Run, install: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = greeter(saying("good morning"))
    conf = tmp_path / "pip.conf"
    conf.write_text(OTHER_PEOPLES.format(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", str(conf))
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "elsewhere"))
    assert install(**made)["changed"]
    assert greeting(tmp_path / "opt") == "good morning"
    assert not {"t", "p", "r", "elsewhere"} & {path.name for path in tmp_path.iterdir()}


def test_a_pip_that_reports_success_and_installed_nothing_is_an_error(
    greeter: Run, install: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = greeter(saying("good morning"))
    monkeypatch.setattr(python_release, "OFFLINE", (*python_release.OFFLINE, "--dry-run"))
    report = install(**made)
    assert report["failed"]
    assert "pip reported success" in report["msg"]
    assert "has no greeter-1.0.dist-info" in report["msg"]
    assert not (tmp_path / "opt/current").exists()


def test_a_damaged_file_of_pips_settings_is_named(
    collect: Run, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = tmp_path / "pip.conf"
    conf.write_text("index-url = nowhere\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(conf))
    assert str(conf) in collect(project=str(project))["msg"]


def test_a_damaged_wheel_is_refused_and_what_was_in_force_stays(greeter: Run, install: Run, tmp_path: Path) -> None:
    in_force = tmp_path / "opt/releases/before"
    in_force.mkdir(parents=True)
    (tmp_path / "opt/current").symlink_to("releases/before")
    made = greeter(saying("hello"))
    content = bytearray(Path(made["archive"]).read_bytes())
    content[content.index(b"PK\x03\x04") + 40] ^= 1
    (tmp_path / "damaged.tar").write_bytes(content)

    report = install(release=made["release"], archive=str(tmp_path / "damaged.tar"))
    assert report["failed"]
    assert "sha256 differs for greeter-1.0-py3-none-any.whl" in report["msg"]
    assert (tmp_path / "opt/current").resolve() == in_force
    assert not (tmp_path / "opt/releases" / made["release"]).exists()


def test_a_program_that_cannot_start_is_never_put_in_force(greeter: Run, install: Run, tmp_path: Path) -> None:
    report = install(**greeter("import somewhere_else\n"), programs=["greet"])
    assert report["failed"]
    assert "cannot start greet" in report["msg"]
    assert "somewhere_else" in report["msg"]
    assert not (tmp_path / "opt/current").exists()


CHECKED = """\
import sys
def main() -> None:
    if sys.argv[1:] == ["check"]:
        sys.exit("another SHA-256")
    print("compiled")
"""


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import compiled_for_another_python\n", "No module named 'compiled_for_another_python'"),
        (CHECKED, "another SHA-256"),
    ],
)
def test_a_compiled_wheel_that_fails_on_the_host_leaves_the_pure_one_in_force_and_says_so(
    source: str, told: str, greeter: Run, install: Run, tmp_path: Path
) -> None:
    wanted = {**greeter(saying("pure"), source), "programs": ["greet"], "self_check": ["greet", "check"]}
    report = install(**wanted)
    assert (report["changed"], report["compiled"]) == (True, False)
    assert told in report["reason"]
    assert told in str(report["warnings"])
    assert "Traceback" not in report["reason"]
    assert greeting(tmp_path / "opt") == "pure"
    (component,) = bill(tmp_path / "opt")["components"]
    assert component["properties"] == [{"name": "lowlatency.trading:wheel", "value": "greeter-1.0-py3-none-any.whl"}]

    again = install(**wanted)
    assert not again["changed"]
    assert told in str(again["warnings"])
    assert told in install(**wanted, compiled="always")["msg"]


def bill(root: Path) -> dict[str, Any]:
    """Return the active release's bill of materials, the list of its parts. Check it with CycloneDX's own schema."""
    text = (root / "current/sbom.cdx.json").read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    read: dict[str, Any] = json.loads(text)
    return read


def test_the_bill_of_materials_names_what_is_installed_and_nothing_else(
    greeter: Run, install: Run, tmp_path: Path
) -> None:
    root, made = tmp_path / "opt", greeter(saying("pure"), compiled=saying("compiled"))
    report = install(**made, programs=["greet"], self_check=["greet", "check"])
    assert (report["compiled"], report["reason"]) == (True, "")
    assert greeting(root) == "compiled"
    compiled = bill(root)
    assert compiled["metadata"]["component"]["version"] == made["release"]
    (component,) = compiled["components"]
    with tarfile.open(made["archive"]) as archive:
        (wheel,) = (name for name in archive.getnames() if name.startswith("greeter-1.0-cp"))
        packed = archive.extractfile(wheel)
        assert packed is not None
        digest = hashlib.sha256(packed.read()).hexdigest()
    assert (component["purl"], component["hashes"]) == (
        "pkg:pypi/greeter@1.0",
        [{"alg": "SHA-256", "content": digest}],
    )
    assert component["licenses"] == [{"license": {"name": "MIT"}}]


def test_a_compiled_wheel_that_must_be_and_fails_puts_nothing_in_force(
    greeter: Run, install: Run, tmp_path: Path
) -> None:
    made = greeter(saying("pure"), "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    refused = install(**made, programs=["greet"], self_check=["greet", "check"], compiled="always")
    assert refused["failed"]
    assert "cannot start greet" in refused["msg"]
    assert not (tmp_path / "opt/current").exists()


def test_an_installed_release_needs_no_more_than_an_interpreter_that_is_still_there(
    install: Run, greeter: Run, tmp_path: Path
) -> None:
    root, made, python3 = tmp_path / "opt", greeter(saying("hello")), tmp_path / "python3"
    python3.symlink_to(os.path.realpath(sys.executable))
    before = os.umask(0o077)
    try:
        install(**made, python=str(python3))
    finally:
        os.umask(before)
    # The engine's user can read it, whatever umask the host has.
    modes = [path.stat().st_mode for path in root.rglob("*") if not path.is_symlink()]
    assert [mode for mode in modes if not mode & 0o004] == []

    # After an upgrade of the host, python3 can mean another interpreter.
    python3.unlink()
    assert greeting(root) == "hello"

    # Releases that were installed before there were compiled wheels have only a list of wheels in this file.
    (root / "releases" / made["release"] / ".complete").write_text('{"greeter-1.0-py3-none-any.whl": "0123"}\n')
    report = install(**made)
    assert (report["changed"], report["compiled"], report["reason"]) == (False, False, "")

    interpreter = root / "current/bin/python"
    interpreter.unlink()
    interpreter.symlink_to("/nowhere/python3.9")
    assert install(**made)["changed"]
    assert greeting(root) == "hello"


def test_an_unknown_release_without_an_archive_is_refused(install: Run) -> None:
    assert "no archive was given" in install(release="0123456789abcdef")["msg"]
    assert "no release to go back to" in install(release="previous")["msg"]


def test_only_old_releases_that_nobody_uses_are_removed() -> None:
    installed_s = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "e": 5.0}
    assert release.superseded(installed_s, in_use={"e", "a"}, keep=3) == ["b", "c"]
    assert release.superseded(installed_s, in_use={"e"}, keep=9) == []
    assert release.superseded(installed_s, in_use={"e", "d"}, keep=1) == ["a", "b", "c"]
