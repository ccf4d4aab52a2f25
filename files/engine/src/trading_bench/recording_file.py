"""The files with recordings of runs, from which `trading-figures` computes the figures later.

They are needed if the engine runs on another host, whose record of disturbances is available only after the run.
"""

import json
from array import array
from collections import Counter
from pathlib import Path
from typing import Any

from trading_bench.connection import BenchError
from trading_bench.generator import Recording

ARRAYS = ("intended_ns", "sent_ns", "answered_ns", "engine_ns", "replied_ns", "shown_ns")
_HEAD = ("rate_per_s", "slots", "warmup_slots", "spins", "cpu_s", "offered_s", "wall_s")


def save(path: Path, recording: Recording, about: dict[str, Any]) -> None:
    """Write a recording and its description `about` to a file. Raises BenchError when the file cannot be written.

    The file begins with a line of JSON. The arrays follow.
    """
    head = {name: getattr(recording, name) for name in _HEAD}
    head |= {"rejects": recording.rejects, "surprises": recording.surprises, "about": about}
    try:
        with path.open("wb") as file:
            file.write(json.dumps(head).encode() + b"\n")
            for name in ARRAYS:
                getattr(recording, name).tofile(file)
    except OSError as error:
        raise BenchError(f"cannot write {path}: {error.strerror}") from error


def load(path: Path) -> tuple[Recording, dict[str, Any]]:
    """Return the recording in a file and its description.

    Raises BenchError if the file cannot be read, or is no complete recording.
    """
    try:
        with path.open("rb") as file:
            head = json.loads(file.readline())
            recording = Recording(head["rate_per_s"], head["slots"], head["warmup_slots"], spins=head["spins"])
            for name in ("cpu_s", "offered_s", "wall_s"):
                setattr(recording, name, head[name])
            recording.rejects, recording.surprises = Counter(head["rejects"]), Counter(head["surprises"])
            for name in ARRAYS:
                values: array[int] = array("q")
                values.fromfile(file, recording.slots)
                setattr(recording, name, values)
            return recording, head["about"]
    except OSError as error:
        raise BenchError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, EOFError) as error:
        raise BenchError(f"{path} is no complete recording of trading-bench: {error}") from error
