"""The compiled engine passes the same tests as the pure engine. From the same journal it makes the same bytes."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks import variants
from tests.proofs.determinism import write_journal

MESSAGES = 100_000


def test_pure_and_compiled_engine_replay_to_the_same_bytes(tmp_path: Path) -> None:
    write_journal(tmp_path, MESSAGES)
    found = {}
    for variant in ("pure", "compiled"):
        result = subprocess.run(
            [sys.executable, "-m", "trading_engine", "replay", str(tmp_path)],
            env=variants.environment(variant),
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
        found[variant] = json.loads(result.stdout)
        assert found[variant]["messages"] == MESSAGES
    assert found["pure"]["sha256"] == found["compiled"]["sha256"]


def self_check(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trading_engine", "self-check"],
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_compiled_engine_checks_itself() -> None:
    result = self_check(variants.compiled())
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["compiled"] is True
    root = variants.compiled()
    built = {
        path.with_name(path.name.partition(".")[0])
        for name in variants.PACKAGES
        for path in root.glob(f"{name}/**/*.so")
    }
    whole_rooms = [f"trading_engine/{room}" for room in ("clients", "host", "machine", "published", "storage")]
    wanted = {path.with_suffix("") for room in whole_rooms for path in (root / room).glob("*.py")}
    wanted -= {path for path in wanted if path.name in ("__init__", "native")}
    singles = ("trading_engine/engine", *(f"trading_feed/{name}" for name in ("live", "log", "subscriber", "tail")))
    wanted |= {
        root / name for name in (*singles, *(f"trading_bench/{name}" for name in ("flow", "generator", "witness")))
    }
    assert built == wanted
    assert found["modules_compiled"] == len(built)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(variants.compiled(), tmp_path / "copied"))


def test_a_compiled_module_that_cannot_be_loaded_is_refused(copied: Path) -> None:
    # Damage a module that no other compiled module imports. Compiled modules load each other without these files.
    (built,) = copied.glob("trading_feed/live.*.so")
    built.write_bytes(built.read_bytes()[:100])
    result = self_check(copied)
    assert result.returncode == 2
    assert result.stderr.startswith("trading-engine: error: cannot import trading_feed.live")
    assert result.stderr.count("\n") == 1


def test_compiled_modules_for_another_architecture_are_not_taken_for_compiled_ones(copied: Path) -> None:
    for built in copied.rglob("*/*.so"):
        built.rename(built.with_name(f"{built.name.split('.')[0]}.cpython-311-pdp11-linux-gnu.so"))
    result = self_check(copied)
    assert result.returncode == 2
    assert "is not for this Python: its source would run instead" in result.stderr


def test_the_compiled_engine_passes_the_engines_own_tests() -> None:
    environment = {**os.environ, "PYTHONPATH": str(variants.compiled())}
    code = (
        "from trading_engine.machine import core; from trading_engine.clients import gateway;"
        "assert all(module.__file__.endswith('.so') for module in (core, gateway))"
    )
    subprocess.run([sys.executable, "-c", code], env=environment, timeout=60, check=True)
    tests = ["tests/unit/engine", "tests/unit/feed", "tests/unit/bench", "tests/integration/engine/test_survival.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    command += ["-o", f"pythonpath={shlex.quote(str(variants.ROOT))} {shlex.quote(str(variants.compiled()))}"]
    result = subprocess.run(
        command, cwd=variants.ROOT, env=environment, capture_output=True, text=True, timeout=1200, check=False
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-3000:]
