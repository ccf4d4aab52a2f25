"""The command `trading-engine check-state`, which checks the newest snapshot by a replay of the journal.

The snapshot must have the same state as the replay.
"""

from __future__ import annotations

from pathlib import Path

from trading_engine.machine.core import Core
from trading_engine.machine.version import MACHINE_VERSION
from trading_engine.storage import snapshot
from trading_engine.storage.journal import OtherVersionError
from trading_engine.storage.recovery import NOTHING, Tail, apply_journaled
from trading_engine.storage.snapshot import SnapshotError, SnapshotHead


def check_state(directory: Path) -> str:
    """Check the newest snapshot in the journal's directory by a replay, and return a text with the result.

    No file is changed. The replay begins at the previous snapshot or, if there is none, at the first record. If
    something could not be compared, the text says what and why. Raises SnapshotError if the states differ, JournalError
    for a damaged journal.
    """
    good = _good_snapshots(directory)
    if not good:
        return "not compared, because there is no snapshot: the state is what the whole journal implies"
    newest, head = good[-1]
    if head.version != MACHINE_VERSION:
        written_by = f"{newest.name} was written by version {head.version}"
        return f"not compared, because {written_by}, and this is {MACHINE_VERSION}"
    core = Core()
    snapshot.read(newest, core)
    digest = snapshot.stored_digest(newest)
    if snapshot.digest(core) != digest:
        raise SnapshotError(f"{newest}: the state loaded from it differs from its own (SHA-256 {digest})")
    core = Core()
    loaded = f"{newest.name} is loaded to the byte (SHA-256 {digest}, after record {head.records})"
    older, begins = good[-2] if len(good) > 1 else (None, NOTHING)
    tail = Tail(directory, begins, MACHINE_VERSION)
    tail.files = [path for path in tail.files if int(path.stem) < head.segment]
    if not tail.files or int(tail.files[0].stem) != begins.segment:
        return f"{loaded}, and not compared with a replay, because the journal before it is not there"
    if older is not None:
        snapshot.read(older, core)
    since = f"the journal since {older.name}" if older else "the journal from its first record on"
    try:
        for record in tail:
            apply_journaled(core, record)
            core.discard_outputs()
    except OtherVersionError as error:
        return f"{loaded}, and not compared with a replay: {error}"
    replayed = snapshot.digest(core)
    if (tail.records, replayed) != (head.records, digest):
        raise SnapshotError(
            f"{newest} is not what {since} implies: it says SHA-256 {digest} after record {head.records}, and the "
            f"replay gives {replayed} after record {tail.records}. One of them was changed, or its writer was wrong"
        )
    return f"{loaded}, and {since} implies the same: {tail.records - begins.records} records replayed"


def _good_snapshots(directory: Path) -> list[tuple[Path, SnapshotHead]]:
    """Return the paths and heads of all undamaged snapshots, oldest first.

    A head is the position in the journal that a snapshot belongs to.
    """
    good = []
    for path in snapshot.files(directory):
        try:
            good.append((path, snapshot.read(path, None)))
        except SnapshotError:
            continue
    return good
