"""scripts/face.sh runs the steps of a script.

The tests check what it prints about a step, how it ends a step, and what the step's log contains.
"""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import termios
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BEGIN = f"""
. '{ROOT}/scripts/lib.sh'
. '{ROOT}/scripts/face.sh'
advice() {{ echo "Do something about $1."; }}
evidence() {{ [ "$1" != weighed ] || echo "It weighs 5 kg."; }}
face_begin "$LOGS"
"""


def face(script: str, logs: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", BEGIN + script],
        env={**os.environ, "LOGS": str(logs)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_step_is_one_line_and_what_it_prints_is_in_its_log(tmp_path: Path) -> None:
    done = face("chatter() { echo Unpacking; echo Oops >&2; }; step apt Packages chatter; echo end", tmp_path / "a log")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"  Packages +\d+ s\nend\n", done.stdout)
    assert (tmp_path / "a log/apt.log").read_text() == "Unpacking\nOops\n"


def test_steps_launched_together_are_shown_one_after_the_other(tmp_path: Path) -> None:
    script = """
    mkfifo "$LOGS/together"
    one() { echo hello >"$LOGS/together"; }
    two() { read -r word <"$LOGS/together"; echo "$word"; }
    launch one one; step two Two two; follow one One
    """
    done = face(script, tmp_path / "log")
    assert re.fullmatch(r"  Two +\d+ s\n  One +\d+ s\n", done.stdout)
    assert (tmp_path / "log/two.log").read_text() == "hello\n"


def test_events_make_parts_and_headings(tmp_path: Path) -> None:
    script = r"""play() { printf 'heading %s\npart %s\ndetail %s\npart %s\n' 'Make it' one 'a task' two >&7; }
    step site Ansible play"""
    done = face(script, tmp_path / "log")
    assert re.fullmatch(r"  Ansible +\d+ s\nMake it\n  one +\d+ s\n  two +\d+ s\n", done.stdout)


def test_a_failure_shows_the_last_twenty_lines_what_to_do_and_its_exit_code(tmp_path: Path) -> None:
    script = r"""broken() { seq 30; printf '\033[31mred\033[0m\a\n'; (exit 7); echo "never said"; }
    step it "The step" broken; echo "not reached" """
    done = face(script, tmp_path / "log")
    assert done.returncode == 7
    assert re.fullmatch(r"  The step +\d+ s  failed\n", done.stdout)
    said = [line.removeprefix("  | ") for line in done.stderr.splitlines() if line.startswith("  | ")]
    assert said == [*map(str, range(12, 31)), "red"]
    assert done.stderr.endswith("error: The step failed. Do something about it.\n")


def test_a_failing_play_says_its_own_reason_and_what_it_found_out_first(tmp_path: Path) -> None:
    script = """broken() { echo "TASK"; echo "host: it is too heavy" >"$LOGS/weighed.failure"; false; }
    step weighed "The step" broken"""
    done = face(script, tmp_path / "log")
    assert done.returncode == 1
    assert done.stderr.split("\n\n")[:2] == ["\nhost: it is too heavy", "It weighs 5 kg."]


def test_a_failure_without_a_word_says_what_to_do(tmp_path: Path) -> None:
    done = face('step it "The step" false', tmp_path / "log")
    assert done.stderr.endswith("\n\nerror: The step failed. Do something about it.\n")


def test_an_error_of_our_own_is_the_one_line_that_is_shown(tmp_path: Path) -> None:
    script = 'held() { say Looking; die "it is held by /x/y: take it back there"; }; step it "The step" held'
    done = face(script, tmp_path / "log")
    assert (done.returncode, done.stderr) == (1, "\nerror: The step: it is held by /x/y: take it back there\n")


def test_another_launched_step_ends_with_the_failing_one(tmp_path: Path) -> None:
    script = 'launch other sleep 1000; echo "${face_pid[other]}" >"$LOGS/pid"; step it "The step" false'
    assert face(script, tmp_path / "log").returncode == 1
    assert not _group_lives(int((tmp_path / "log/pid").read_text()))


def _group_lives(group: int) -> bool:
    """Return whether a process of this process group still runs. A zombie does not count."""
    done = subprocess.run(["ps", "-e", "-o", "pgid=,stat="], capture_output=True, text=True, check=True)
    return any(int(row.split()[0]) == group and row.split()[1][0] != "Z" for row in done.stdout.splitlines())


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("stubborn", ["", "trap '' INT;"])
def test_an_interruption_is_one_line_and_ends_the_steps_children(
    number: signal.Signals, status: int, stubborn: str, tmp_path: Path
) -> None:
    script = f"""face_patience=3; busy() {{ {stubborn} sleep 1000; }}
    launch other sleep 1000
    busy_and_tell() {{ echo "part Load" >&7; busy; }}
    echo "${{face_pid[other]}}" >"$LOGS/pids"
    step it "The step" busy_and_tell"""
    process = subprocess.Popen(
        ["bash", "-c", BEGIN + script],
        env={**os.environ, "LOGS": str(tmp_path / "log")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    read = ""
    while "Load" not in read:
        read += os.read(process.stdout.fileno(), 4096).decode()
    groups = [process.pid, *map(int, (tmp_path / "log/pids").read_text().split())]
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
    groups += map(int, children.stdout.split())
    process.send_signal(number)
    _rest, errors = process.communicate(timeout=60)
    assert process.returncode == status
    assert errors == "error: interrupted at Load; go on: scripts/demo, end: scripts/demo down\n"
    assert not [group for group in groups[1:] if _group_lives(group)]


def test_a_terminal_of_eighty_columns_is_never_filled(tmp_path: Path) -> None:
    main, side = pty.openpty()
    termios.tcsetwinsize(side, (24, 80))
    long = "x" * 200
    script = f"""play() {{ printf 'part one\ndetail {long}\n' >&7; }}; step site Ansible play"""
    with os.fdopen(main, "rb", buffering=0) as screen:
        process = subprocess.Popen(
            ["bash", "-c", BEGIN + script],
            env={**os.environ, "LOGS": str(tmp_path / "log"), "TERM": "xterm"},
            stdout=side,
            stderr=side,
            stdin=side,
        )
        os.close(side)
        shown = b""
        try:
            while piece := screen.read(4096):
                shown += piece
        except OSError:  # a closed terminal raises this
            pass
        assert process.wait() == 0
    lines = re.split(r"\r\n|\r", shown.decode().replace("\x1b[K", ""))
    assert max(map(len, lines)) == 80 - len("x^C")  # room for what the terminal shows at Ctrl-C
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", "".join(lines))
    assert re.fullmatch(r"  one +\d+ s", lines[-2])


def test_everything_is_shown_when_asked(tmp_path: Path) -> None:
    script = BEGIN.replace('face_begin "$LOGS"', 'face_begin "$LOGS" --verbose')
    script += "chatter() { echo Unpacking; false; }; step apt Packages chatter; echo not reached"
    environment = {**os.environ, "LOGS": str(tmp_path)}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "Unpacking\n")
