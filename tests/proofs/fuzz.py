"""Sends random input to the engine. It tests all code from a socket's bytes to the order book.

libFuzzer, through the package atheris, makes inputs. It changes earlier inputs that reached new code. Steps with the
pure and the compiled engine take turns. Only the pure engine can report which code was reached. The compiled engine
gets the same inputs, and random changes of them.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.benchmarks import variants
from tests.proofs.evidence import CACHE, Evidence

_STEP = 100_000
_VARIANTS = ("pure", "compiled")
_FIRST_INPUTS = 64
_FIRST_BYTES = 2000


def prove(frames: int) -> Path:
    """Send this many frames. Write the record and return its path.

    Raises AssertionError when an input makes the engine break a rule. This input stays in a file.
    """
    evidence = Evidence("fuzz", frames)
    corpus = CACHE / "fuzz-corpus"
    if not corpus.exists():
        _begin_corpus(corpus)
    for variant in _VARIANTS:
        variants.confirmed(variant)
    while (done := sum(result["frames"] for result in evidence.results)) < frames:
        wanted = min(_STEP, frames - done)
        print(f"{done} of {frames} frames, {len(list(corpus.iterdir()))} inputs worth keeping", file=sys.stderr)
        variant = _VARIANTS[evidence.done % len(_VARIANTS)]
        evidence.add({"variant": variant, **_fuzz(variant, corpus, wanted, seed=evidence.done + 1)})
    totals: dict[str, Counter[str]] = {variant: Counter() for variant in _VARIANTS}
    for result in evidence.results:
        totals[result.pop("variant")].update(result)
    return evidence.finish({**totals, "inputs_kept": len(list(corpus.iterdir()))})


def _begin_corpus(corpus: Path) -> None:
    """Write long random inputs to an empty corpus, the directory with libFuzzer's inputs.

    Short inputs would test little: to open a connection takes long, and the book would stay almost empty.
    """
    choose = random.Random(1)  # noqa: S311  # repeatable, and no secret
    corpus.mkdir(parents=True)
    for number in range(_FIRST_INPUTS):
        (corpus / f"random-{number}").write_bytes(bytes([number % 8]) + choose.randbytes(_FIRST_BYTES))


def _fuzz(variant: str, corpus: Path, frames: int, seed: int) -> dict[str, int]:
    """Send frames to a variant of the engine, and return its counts.

    This runs in a separate process, because libFuzzer ends its process.
    """
    options = [f"-seed={seed}", "-max_len=4096", "-len_control=0", "-reduce_inputs=0", "-timeout=60"]
    options += [f"-artifact_prefix={corpus.parent}/", "-verbosity=0"]
    paths = os.pathsep.join((variants.environment(variant)["PYTHONPATH"], os.environ["PYTHONPATH"]))
    done = subprocess.run(
        [sys.executable, "-m", "tests.proofs.fuzz_target", str(frames), *options, str(corpus)],
        env={**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-500:]
    result: dict[str, int] = json.loads(done.stdout)
    return result
