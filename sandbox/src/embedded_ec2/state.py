"""The state directory of a sandbox, by which other processes find the sandbox."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from embedded_ec2 import processes
from embedded_ec2.errors import SandboxError

SYSTEM_STATE = Path("/var/lib/embedded-ec2")


def user_state() -> Path:
    """Return the state directory of a user who is not root. Such a user can run the API without machines."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "embedded-ec2"


def own_state() -> Path:
    return SYSTEM_STATE if os.geteuid() == 0 else user_state()


@dataclass(frozen=True)
class Running:
    """The record of a running sandbox, by which other processes find it."""

    pid: int
    started_ticks: int
    endpoint: str
    slot: int
    kinds: list[str]

    @property
    def machines(self) -> bool:
        return bool(self.kinds)

    @property
    def is_alive(self) -> bool:
        return processes.is_alive(self.pid, self.started_ticks)


@dataclass(frozen=True)
class Sandbox:
    """The directory of one sandbox, which holds all of its files."""

    name: str
    directory: Path

    @classmethod
    def named(cls, name: str) -> "Sandbox":
        """Return the sandbox of this name.

        If root has a sandbox of this name, return that one. Otherwise return the user's, which need not exist.
        """
        for base in (SYSTEM_STATE, user_state()):
            if (base / name).exists():
                return cls(name, base / name)
        return cls(name, own_state() / name)

    @property
    def running_file(self) -> Path:
        return self.directory / "running.json"

    @property
    def ledger_file(self) -> Path:
        return self.directory / "ledger.json"

    @property
    def log_file(self) -> Path:
        return self.directory / "sandbox.log"

    @property
    def holder_file(self) -> Path:
        return self.directory / "holder"

    @property
    def machines_directory(self) -> Path:
        return self.directory / "machines"

    def running(self) -> Running | None:
        """Return the record of the sandbox's process, or None when it does not run."""
        try:
            record = Running(**json.loads(self.running_file.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return record if record.is_alive else None

    def holder(self) -> str:
        """Return the directory that was given as `--holder` at the sandbox's start, or an empty text."""
        try:
            return self.holder_file.read_text()
        except FileNotFoundError:
            return ""

    def record(self, running: Running) -> None:
        write_atomically(self.running_file, json.dumps(asdict(running)))


def neighbours(base: Path) -> list[Sandbox]:
    """Return every sandbox whose directory is in a state directory, whether the sandbox runs or not."""
    return [Sandbox(entry.name, entry) for entry in sorted(base.glob("*")) if entry.is_dir()]


def write_atomically(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text)
    temporary.replace(path)


@contextmanager
def only_one_at_a_time(base: Path) -> Iterator[None]:
    """Hold the state directory's lock, so that only one start or stop of any sandbox runs at a time.

    The directory is made if it is missing, and removed when it has become empty.
    """
    handle = _lock(base)
    try:
        yield
    finally:
        with suppress(OSError):  # the directory of another sandbox is in it
            base.rmdir()
        os.close(handle)


def _lock(base: Path) -> int:
    """Lock the directory at this path, and return a file descriptor that holds the lock.

    If the directory was removed while this process waited for the lock, the directory that replaced it is locked.
    """
    base = base.resolve()
    while True:
        try:
            base.parent.mkdir(parents=True, exist_ok=True)
            # Path.mkdir(exist_ok=True) would fail when the directory is removed between its two checks.
            with suppress(FileExistsError):
                os.mkdir(base, 0o755)
            handle = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue  # another process has removed the directory in the meantime
        except OSError as error:
            raise SandboxError(f"cannot keep state in {base}: {error.strerror}; make that directory writable") from None
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            if os.stat(base).st_ino == os.fstat(handle).st_ino:
                return handle
        except FileNotFoundError:
            pass
        os.close(handle)
