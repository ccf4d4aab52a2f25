"""Functions that start and stop the process of a sandbox, for the command line."""

import os
import subprocess
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from embedded_ec2 import preflight, state
from embedded_ec2.errors import SandboxError
from embedded_ec2.image import RECIPES, ensure_image
from embedded_ec2.ledger import Ledger
from embedded_ec2.network import PUBLIC_RANGE, SLOTS, slots_in_use_otherwise
from embedded_ec2.state import Running, Sandbox

Say = Callable[[str], None]


def up(sandbox: Sandbox, kinds: Sequence[str], say: Say, holder: str = "") -> Running:
    """Start the sandbox unless it is already up, and return when it answers. Leftovers of a crash are removed first.

    `kinds` are the kinds of machines that the sandbox can run, from image.RECIPES. Without kinds the API runs without
    machines. `holder` is a directory for which the sandbox is reserved. Raises SandboxError when this computer lacks
    something, or when the sandbox ends during its start. Also raises it when a sandbox is already up with other options
    or for another holder.
    """
    if kinds:
        preflight.require_machines_possible(qemu="qemu" in kinds)
    images = {kind: ensure_image(RECIPES[kind], say) for kind in kinds}
    with state.only_one_at_a_time(sandbox.directory.parent):
        running = sandbox.running()
        if running:
            _require_holder(sandbox, holder)
        if running and running.machines == bool(kinds) and set(kinds) <= set(running.kinds):
            return running
        if running:
            raise SandboxError(f"sandbox '{sandbox.name}' is already up {_describe(running)}; take it down first")
        if sandbox.directory.exists():
            say("Removing what an earlier sandbox left behind")
            _remove(sandbox)
        if kinds:
            preflight.require_place_for_machines(sandbox.directory.parent)
        sandbox.directory.mkdir(mode=0o755)
        sandbox.machines_directory.mkdir(mode=0o700)
        sandbox.holder_file.write_text(holder)
        _start_process(sandbox, _free_slot(sandbox), images)
        started = sandbox.running()
        if started is None:
            raise SandboxError(f"the sandbox ended as soon as it was up; its last words are in {sandbox.log_file}")
        return started


def _require_holder(sandbox: Sandbox, holder: str) -> None:
    """Raise SandboxError when the sandbox is reserved for another directory that still exists."""
    holds = sandbox.holder()
    if holder and holds and holds != holder and Path(holds).is_dir():
        raise SandboxError(
            f"sandbox '{sandbox.name}' is held by {holds}: take it back there first (or by scripts/sandbox down)"
        )


def _describe(running: Running) -> str:
    return f"with machines of kind {', '.join(running.kinds)} only" if running.machines else "without machines"


def down(sandbox: Sandbox, holder: str = "") -> bool:
    """Remove everything that the sandbox made. Return False when there was nothing to remove.

    Raises SandboxError when the sandbox is reserved for another directory than `holder`.
    """
    if not sandbox.directory.exists():
        return False
    with state.only_one_at_a_time(sandbox.directory.parent):
        _require_holder(sandbox, holder)
        _remove(sandbox)
    return True


def _remove(sandbox: Sandbox) -> None:
    # End the process first, because it writes the ledger while it runs.
    Ledger(sandbox.ledger_file).end_processes()
    Ledger(sandbox.ledger_file).undo_all()
    for file in (sandbox.running_file, sandbox.log_file, sandbox.holder_file):
        file.unlink(missing_ok=True)
    if sandbox.machines_directory.exists():
        sandbox.machines_directory.rmdir()
    # Remove the ledger last, so that an interrupted removal can be continued.
    sandbox.ledger_file.unlink(missing_ok=True)
    sandbox.directory.rmdir()


def _free_slot(sandbox: Sandbox) -> int:
    """Return the number of a slot that no other sandbox on this computer uses.

    A slot is a range of public addresses.
    """
    taken = slots_in_use_otherwise()
    for neighbour in state.neighbours(sandbox.directory.parent):
        running = neighbour.running()
        if running:
            taken.add(running.slot)
    free = sorted(set(range(SLOTS)) - taken)
    if not free:
        raise SandboxError(f"all of {PUBLIC_RANGE} is in use by other sandboxes or hosts here; take a sandbox down")
    return free[0]


def preferred_port(name: str) -> int:
    """Return the port that a sandbox of this name prefers.

    It is always the same, so that the settings of a user's shell still work after a restart.
    """
    return 18000 + zlib.crc32(name.encode()) % 2000


def _start_process(sandbox: Sandbox, slot: int, images: Mapping[str, Path]) -> None:
    reader, writer = os.pipe()
    argv = [sys.executable, "-m", "embedded_ec2", "serve", "--name", sandbox.name, "--slot", str(slot)]
    argv += ["--ready-descriptor", str(writer)]
    argv += [word for kind, image in images.items() for word in ("--image", kind, str(image))]
    with sandbox.log_file.open("wb") as log:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[writer], start_new_session=True, cwd="/"
        )
    os.close(writer)
    with os.fdopen(reader) as ready:
        if ready.readline() == "ready\n":
            return
    process.wait()
    last_words = sandbox.log_file.read_text(errors="replace").strip().splitlines()[-1:] or ["nothing"]
    raise SandboxError(f"the sandbox could not start: {last_words[0]} (all of it: {sandbox.log_file})")
