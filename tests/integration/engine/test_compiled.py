"""The compiled engine is the same engine: the same bytes for the same journal, the same answers to the same tests."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

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


def test_the_compiled_engine_passes_the_engines_own_tests() -> None:
    environment = {**os.environ, "PYTHONPATH": str(variants.compiled())}
    code = "from trading_engine import core, gateway as g; assert all(m.__file__.endswith('.so') for m in (core, g))"
    subprocess.run([sys.executable, "-c", code], env=environment, timeout=60, check=True)
    tests = ["tests/unit/engine", "tests/integration/engine/test_survival.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    command += ["-o", f"pythonpath={shlex.quote(str(variants.ROOT))} {shlex.quote(str(variants.compiled()))}"]
    result = subprocess.run(
        command, cwd=variants.ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-3000:]
