"""scripts/bootstrap-host refuses invalid input, and its message names the input.

`scripts/prove bootstrap` runs the script on machines.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
SCRIPT = (ROOT / "scripts/bootstrap-host").read_text(encoding="utf-8")
USER_DATA_LIMIT_BYTES = 16384  # EC2 user guide, "Run commands when you launch an EC2 instance with user data input"
NOBODY = 65534
CHECKSUM = "0" * 64

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="what root alone comes to")
with_curl = pytest.mark.skipif(not shutil.which("curl"), reason="it would install curl on this machine")


@pytest.fixture
def debian(tmp_path: Path) -> dict[str, str]:
    """Return the environment variables of a run on Debian 12. The release to install is a local file."""
    os_release = tmp_path / "os-release"
    os_release.write_text('ID=debian\nVERSION_ID="12"\n', encoding="utf-8")
    tarball = tmp_path / "lowlatency-trading-0.1.0.tar.gz"
    tarball.write_bytes(b"no tarball")
    return {
        "PATH": os.environ["PATH"],
        "TRADING_RELEASE": str(tarball),
        "TRADING_RELEASE_SHA256": CHECKSUM,
        "TRADING_BOOTSTRAP_LOG": str(tmp_path / "log"),
        "TRADING_OS_RELEASE": str(os_release),
    }


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as it:
        threading.Thread(target=it.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{it.server_port}"
        it.shutdown()


def refusal(environment: dict[str, str], user: int | None = None) -> str:
    """Run the script, which must fail. Return its last error message."""
    done = subprocess.run(
        ["bash", "-s"],
        input=SCRIPT,
        env=environment,
        user=user,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return (done.stdout + done.stderr).splitlines()[-1].partition("ERROR: ")[2]


def test_it_fits_into_user_data_with_room_for_a_users_own_lines() -> None:
    assert len(SCRIPT.encode()) < USER_DATA_LIMIT_BYTES * 0.75


def without_start(command: str = "", environment: dict[str, str] | None = None) -> str:
    """Run the script without its last line, which calls `main`. Then run a command. Return the output of both."""
    functions, start, _ = SCRIPT.rpartition('\nmain "$@"\n')
    assert start
    script = f"exec 2>&1\n{functions}\n{command}"
    return subprocess.run(
        ["bash", "-s"], input=script, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=60
    ).stdout


def test_a_script_that_was_cut_off_does_nothing() -> None:
    assert without_start() == ""


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ("met met", "2 of 2 met"),
        ("met not_measured", "NOT MEASURED: target2; 1 of 2 met"),
        ("missed not_measured not_measured", "MISSED: target1; NOT MEASURED: target2, target3; 0 of 3 met"),
    ],
)
def test_the_last_line_says_what_was_missed_and_what_not_measured(tmp_path: Path, verdicts: str, said: str) -> None:
    words = [word.replace("_", " ") for word in verdicts.split()]
    rows = [{"name": f"target{number}", "verdict": word} for number, word in enumerate(words, 1)]
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"verdict": rows}), encoding="utf-8")
    assert without_start(f"report={shlex.quote(str(report))} python=python3; verdict").strip() == said


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TRADING_RELEASE", ""),
        ("TRADING_RELEASE_SHA256", ""),
        ("TRADING_RELEASE_SHA256", "abc"),
        ("TRADING_EXTRA_VARS", "/nowhere.yml"),
    ],
)
def test_a_parameter_that_is_missing_or_wrong_is_named(debian: dict[str, str], variable: str, value: str) -> None:
    assert refusal({**debian, variable: value}).startswith(variable)


@pytest.mark.parametrize("told", ["ID=gentoo\n", 'ID=debian\nVERSION_ID="11"\n', "", None])
def test_an_unknown_distribution_is_refused(debian: dict[str, str], told: str | None) -> None:
    os_release = Path(debian["TRADING_OS_RELEASE"])
    os_release.unlink()
    if told is not None:
        os_release.write_text(told, encoding="utf-8")
    assert "known are Amazon Linux 2023, Debian 12 and 13, and Ubuntu 24.04" in refusal(debian)


def test_it_knows_the_distributions_that_the_engine_has_a_python_for() -> None:
    known = {}
    for path in (ROOT / "roles/trading_engine/vars").glob("*-*.yml"):
        python = yaml.safe_load(path.read_text(encoding="utf-8"))["__trading_engine_python"]["command"]
        name, _, version = path.stem.lower().partition("-")
        known[f"{name.replace('amazon', 'amzn')}-{version}"] = python
    cases = re.findall(r"^ +(\S+-\d.*)\) installer=\S+ python=(\S+)", SCRIPT, re.MULTILINE)
    ours = {re.sub(r"[*]|\.04", "", name.strip()): python for names, python in cases for name in names.split("|")}
    assert ours == known


def test_another_user_than_root_is_refused(debian: dict[str, str]) -> None:
    with tempfile.NamedTemporaryFile() as readable:
        readable.write(Path(debian["TRADING_OS_RELEASE"]).read_bytes())
        readable.flush()
        os.chmod(readable.name, 0o644)
        user = NOBODY if os.geteuid() == 0 else None
        said = refusal({**debian, "TRADING_OS_RELEASE": readable.name}, user)
    assert said.startswith("this must be run by root")


@as_root
def test_another_checksum_is_refused_with_both_and_nothing_is_used(debian: dict[str, str]) -> None:
    tarball = Path(debian["TRADING_RELEASE"])
    said = refusal(debian)
    assert hashlib.sha256(tarball.read_bytes()).hexdigest() in said
    assert CHECKSUM in said
    assert "nothing of it was used" in said
    assert not Path(f"/opt/trading-bootstrap/{CHECKSUM}").exists()


@as_root
@with_curl
def test_another_checksum_of_a_url_is_refused(debian: dict[str, str], server: str) -> None:
    assert CHECKSUM in refusal({**debian, "TRADING_RELEASE": f"{server}/{Path(debian['TRADING_RELEASE']).name}"})


@as_root
@with_curl
@pytest.mark.parametrize("release", ["{server}/another.tar.gz", "http://127.0.0.1:1/release.tar.gz"])
def test_a_release_that_cannot_be_fetched_is_named(debian: dict[str, str], server: str, release: str) -> None:
    url = release.format(server=server)
    assert refusal({**debian, "TRADING_RELEASE": url}).startswith(f"cannot fetch {url}")


@as_root
def test_a_path_that_does_not_exist_is_named(debian: dict[str, str]) -> None:
    assert "'/nowhere.tar.gz'" in refusal({**debian, "TRADING_RELEASE": "/nowhere.tar.gz"})


def test_a_tarball_of_something_else_is_named(debian: dict[str, str], tmp_path: Path) -> None:
    environment = {**debian, "TRADING_RELEASE_SHA256": hashlib.sha256(b"no tarball").hexdigest()}
    said = without_start(f"packages=() installed={shlex.quote(str(tmp_path / 'it'))}; (work) || :", environment)
    assert f"{debian['TRADING_RELEASE']} is no tarball of this collection" in said


@as_root
def test_what_it_says_is_kept_in_a_log_that_root_alone_reads(debian: dict[str, str]) -> None:
    said = refusal(debian)
    log = Path(debian["TRADING_BOOTSTRAP_LOG"])
    assert said in log.read_text(encoding="utf-8")
    assert log.stat().st_mode & 0o777 == 0o600


@as_root
def test_a_second_run_beside_the_first_is_refused(debian: dict[str, str]) -> None:
    with Path(debian["TRADING_BOOTSTRAP_LOG"]).open("w") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        assert refusal(debian).startswith("another bootstrap-host is at work")
