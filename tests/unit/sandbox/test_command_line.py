import subprocess
import sys

import pytest
from embedded_ec2 import cli


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "embedded_ec2", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


def test_asking_a_sandbox_that_is_not_up_says_how_to_start_it() -> None:
    done = run("env", "--name", "never-started")
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr
        == "error: sandbox 'never-started' is not up; start it with: scripts/sandbox up --name never-started\n"
    )


def test_machines_and_no_machines_is_refused() -> None:
    done = run("up", "--name", "never-started", "--no-machines", "--bullseye")
    assert (done.returncode, done.stderr) == (1, "error: --no-machines and --bullseye: one or the other\n")


def test_taking_down_what_is_not_there_is_no_error() -> None:
    assert run("down", "--name", "never-started").returncode == 0


@pytest.mark.parametrize("name", ["", "../etc", "Upper", "a b", "-x", "x" * 32])
def test_a_name_that_is_no_name_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["status", f"--name={name}"])
    assert stop.value.code == 2
    assert "is not a name" in capsys.readouterr().err
