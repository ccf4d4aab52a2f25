"""The orders of a disaster drill are sent to a real engine, which is killed and then restarted.

The restarted engine reads its own journal, or an older copy of its journal.
"""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trading_bench.flow import SLOTS_PER_CYCLE

from tests.integration.bench.test_against_engine import DEADLINE_S, POLL_S, Engine, engine, wait_until_published

__all__ = ["engine"]


def drill(engine: Engine, verb: str, *options: str | Path) -> list[str]:
    command = [sys.executable, "-m", "trading_bench.drill", "--host", "127.0.0.1", "--port", str(engine.port)]
    command += ["--account", "BENCH", "--password-file", str(engine.password_file)]
    return [*command, verb, *map(str, options)]


def lost_after(engine: Engine, kept: Path, orders: int, meanwhile: Callable[[], object]) -> float:
    """Send the orders of a drill to the engine, and kill the engine meanwhile.

    Call `meanwhile` when the engine has counted `orders` orders. Kill the engine when it has counted twice as many.
    Return the time of the kill in seconds since 1970.
    """
    command = drill(engine, "send", "--symbol", "TEST", "--rate", "400", "--keep", kept)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sending:
        engine.settled_state(orders)
        meanwhile()
        engine.settled_state(2 * orders)
        lost_at_s = time.time()
        engine.process.kill()
        output, _ = sending.communicate(timeout=DEADLINE_S)
    assert sending.returncode == 0
    assert json.loads(output)["acknowledged"] >= orders
    return lost_at_s


def restart(engine: Engine, tmp_path: Path) -> None:
    engine.process.wait(10)
    engine.state_path.unlink()
    engine.process = subprocess.Popen([sys.executable, "-m", "trading_engine", "--config", tmp_path / "engine.toml"])
    wait_until_published(engine)


@pytest.fixture
def ended(engine: Engine) -> Any:
    yield engine
    engine.process.send_signal(signal.SIGTERM)
    engine.process.wait(10)


def compared(engine: Engine, kept: Path, lost_at_s: float, rpo_s: float = 60.0) -> "subprocess.CompletedProcess[str]":
    options = ("--record", kept, "--lost-at", f"{lost_at_s:.6f}", f"--rpo={rpo_s:.0f}")
    return subprocess.run(
        drill(engine, "compare", *map(str, options)), capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip


def test_of_a_killed_engine_nothing_is_lost(ended: Engine, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    lost_at_s = lost_after(ended, kept, 200, lambda: None)
    restart(ended, tmp_path)
    done = compared(ended, kept, lost_at_s)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["compared"] == found["there"] == found["acknowledged"] >= 200
    assert (found["lost"], found["measured_rpo_seconds"], found["lost_orders"]) == (0, 0.0, [])

    # The engine gives another answer than before, so it does not have the state of the lost engine.
    lines = kept.read_bytes().splitlines()
    lines[7] = lines[7][:-2] + (b"00" if lines[7][-2:] != b"00" else b"01")
    kept.write_bytes(b"\n".join(lines) + b"\n")
    done = compared(ended, kept, lost_at_s)
    assert done.returncode == 1
    assert "trading-drill: error: message " in done.stderr
    assert done.stderr.endswith("now: this is another state\n")


def test_what_an_older_copy_lacks_is_listed_with_its_age(ended: Engine, tmp_path: Path) -> None:
    kept, copy = tmp_path / "kept", tmp_path / "copy"
    copied_at: list[float] = []

    def copies() -> None:
        copied_at.append(time.time())
        shutil.copytree(tmp_path / "journal", copy, ignore=shutil.ignore_patterns("spare*"))

    lost_at_s = lost_after(ended, kept, 40, copies)
    ended.process.wait(10)
    shutil.rmtree(tmp_path / "journal")
    copy.rename(tmp_path / "journal")
    restart(ended, tmp_path)
    done = compared(ended, kept, lost_at_s)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["acknowledged"] == found["there"] + found["lost"]
    assert found["there"] >= 40 - SLOTS_PER_CYCLE
    assert 0 < found["lost"] == len(found["lost_orders"])
    assert found["measured_rpo_seconds"] <= lost_at_s - copied_at[0] + POLL_S
    ages = [order["age_seconds"] for order in found["lost_orders"]]
    assert ages == sorted(ages, reverse=True)
    for rpo_s, older in ((1e9, 0), (-1e9, found["lost"])):
        done = compared(ended, kept, lost_at_s, rpo_s)
        assert json.loads(done.stdout)["lost_older_than_promised"] == older
    assert all(len(order["token"]) == 14 for order in found["lost_orders"])


def test_an_engine_without_the_drill_s_first_message_has_lost_all_of_it(ended: Engine, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    lost_at_s = lost_after(ended, kept, 40, lambda: None)
    head, *messages = kept.read_bytes().splitlines()
    later = {**json.loads(head), "sequence": 1_000_000}
    kept.write_bytes(b"\n".join([json.dumps(later).encode(), *messages]) + b"\n")
    restart(ended, tmp_path)
    done = compared(ended, kept, lost_at_s)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["there"], found["compared"], found["lost"]) == (0, 0, found["acknowledged"])


def test_a_record_that_is_none_is_named(ended: Engine, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("{}\nnot one\n")
    done = compared(ended, kept, 0.0)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert f"{kept} is no record of `trading-drill send`" in done.stderr
