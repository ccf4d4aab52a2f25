"""Releases of the engine on this machine, and a script that replaces systemctl and runs the active release.

All releases have the same sources, but each has its own version. A test can add a fault to a release.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from trading_engine.machine.version import MACHINE_VERSION

from tests.unit.engine.process import ENVIRONMENT, EngineProcess

_SOURCES = Path(__file__).parents[3] / "files/engine/src"
_PROGRAM = """\
#!{root}/releases/{name}/bin/python
import sys
sys.path[:0] = {paths!r}
import trading_engine
trading_engine.__version__ = {version!r}
{known}
{planted}
from trading_engine.__main__ import main
sys.exit(main())
"""
# The engine computes its version from its sources at every start, which takes longer than all the rest of a command. A
# release with the sources of this checkout gets the digest that was computed once.
_KNOWN = """
import types
sys.modules["trading_engine.machine.version"] = types.ModuleType("trading_engine.machine.version")
sys.modules["trading_engine.machine.version"].MACHINE_VERSION = {machine!r}
sys.modules["trading_engine.machine.version"].is_compiled = lambda: False
"""
# The command `show` runs in a shell, because modules call it often and Python starts ten times as slowly.
_SYSTEMCTL = """\
#!/bin/sh
[ "$1" = show ] || exec {python} -IS {place}/unit "$1"
read -r pid 2>/dev/null <{place}/pid
read -r stat 2>/dev/null <"/proc/$pid/stat"
case "${{stat##*) }}" in
"" | Z*) echo 0 ;;
*) echo "$pid" ;;
esac
"""
_UNIT = """\
# Runs one unit of type notify: `start`, `stop`, `restart` and `kill`. It starts nothing again.
import os, select, signal, socket, subprocess, sys
from pathlib import Path
place = Path({place!r})
record = place / "pid"

def alive():
    try:
        pid = int(record.read_text())
        return 0 if Path(f"/proc/{{pid}}/stat").read_text().rpartition(")")[2].split()[0] == "Z" else pid
    except (OSError, ValueError):
        return 0

def end(number):
    pid = alive()
    if pid:
        descriptor = os.pidfd_open(pid)
        os.kill(pid, number)
        select.select([descriptor], [], [])

def start():
    path = place / "notify"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, open(place / "log", "a") as log:
        ready.bind(str(path))
        process = subprocess.Popen(
            [{current!r}, "--config", {config!r}], env={{**os.environ, "NOTIFY_SOCKET": str(path)}},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        record.write_text(str(process.pid))
        descriptor = os.pidfd_open(process.pid)
        while True:
            readable, _, _ = select.select([ready, descriptor], [], [])
            if ready in readable and ready.recv(4096).startswith(b"READY=1"):
                return
            if descriptor in readable:
                sys.exit("the process ended with " + str(process.wait()))

action = sys.argv[1]
if action in ("stop", "restart"):
    end(signal.SIGTERM)
if action == "kill":
    end(signal.SIGKILL)
if action in ("start", "restart"):
    start()
"""
_JOURNALCTL = "#!/bin/sh\nexec tail -n 8 {place}/log\n"

# Code that adds a fault to a release. FAULTS has the error message that belongs to each fault.
OTHER_REPLIES = """
from trading_engine.machine.core import Core
start_day = Core.start_day
def start_another(self, *what):
    start_day(self, *what)
    self.next_reference += 7
Core.start_day = start_another
"""
OTHER_SNAPSHOTS = "from trading_engine.storage import snapshot; snapshot.FORMAT = 99"
OTHER_STATE = """
from trading_engine.storage import snapshot
load = snapshot.load
def load_another(core, data):
    load(core, data)
    core.next_reference += 7
snapshot.load = load_another
"""
CRASH = """
from trading_engine.clients.gateway import Gateway
def crash(self):
    raise RuntimeError("planted")
Gateway.open = crash
"""
NO_LOGIN = "from trading_engine.settings import passwords; passwords.verify = lambda *what: False"
HANGS = "import time\nif '--config' == sys.argv[1]: time.sleep(3600)"
OPEN = "from trading_engine.engine import Engine; Engine._accept = lambda self, room: self.submit(8, payload=b'\\1')"
SHUT = "from trading_engine.engine import Engine; Engine._accept = lambda self, room: None"
# The engine cannot remove the file that keeps order entry closed. The same can happen when a device fails.
STAYS = """
if sys.argv[1] == "--config":
    import pathlib
    closed = pathlib.Path(sys.argv[2]).parent / "journal/order-entry-closed"
    if closed.is_file():
        closed.unlink()
        closed.mkdir()
"""
FAULTS = {
    "cannot read the snapshot": (OTHER_SNAPSHOTS, "was written by engine version"),
    "makes another state": (OTHER_STATE, "this release makes another state of it"),
    "crashes after it has journaled": (CRASH, "ended with 1"),
    "rejects every login": (NO_LOGIN, "the login was rejected with 'A'"),
    "opens order entry at once": (OPEN, "order entry is open already"),
    "does not open order entry": (SHUT, "its order entry stays closed"),
    "never gets ready": (HANGS, "no end of it in 3 s"),
}


class Host:
    """A fake host: a directory with releases, and with the engine's configuration and state.

    Scripts replace systemctl and journalctl.
    """

    def __init__(self, directory: Path, **tables: Any) -> None:
        """Make the directory. `tables` changes the configuration, as in `EngineProcess`."""
        self.root = directory / "opt"
        self.programs = directory / "programs"
        state = directory / "state"
        for path in (self.root, self.programs, state):
            path.mkdir()
        self.engine = EngineProcess(state, **tables)
        self.password = state / "password"
        self.password.write_text("secret\n")
        place = shlex.quote(str(directory))
        running = {"current": str(self.root / "current/bin/trading-engine"), "config": str(self.engine.config)}
        (directory / "unit").write_text(_UNIT.format(place=str(directory), **running))
        _write_program(self.programs / "systemctl", _SYSTEMCTL.format(place=place, python=shlex.quote(sys.executable)))
        _write_program(self.programs / "journalctl", _JOURNALCTL.format(place=place))
        (directory / "log").touch()

    @property
    def arguments(self) -> dict[str, object]:
        """The arguments that the modules release_trial and release_switch need for this host."""
        journal = self.engine.directory / "journal"
        return {"root": str(self.root), "config": str(self.engine.config), "journal": str(journal)}

    def install(self, name: str, planted: str = "", sources: Path = _SOURCES) -> None:
        """Make a release. Its program first runs `planted`: Python code, which can contain a fault."""
        programs = self.root / "releases" / name / "bin"
        programs.mkdir(parents=True)
        (programs / "python").symlink_to(os.path.realpath(sys.executable))
        paths = [str(sources), sysconfig.get_paths()["platlib"]]
        version = f"0.1.0.{sum(name.encode())}"
        machine = f"{version}+{MACHINE_VERSION.partition('+')[2]}"
        known = _KNOWN.format(machine=machine) if sources == _SOURCES else ""
        text = _PROGRAM.format(root=self.root, name=name, paths=paths, version=version, known=known, planted=planted)
        _write_program(programs / "trading-engine", text)

    def start(self, name: str) -> None:
        """Make the release `name` the active one, and start its engine."""
        (self.root / "current").symlink_to(f"releases/{name}")
        self.systemctl("start")

    def systemctl(self, action: str) -> str:
        done = subprocess.run(
            [self.programs / "systemctl", action], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=True
        )
        return done.stdout.strip()

    def linked(self, link: str) -> str:
        path = self.root / link
        return os.readlink(path).rpartition("/")[2] if path.is_symlink() else ""

    def end(self) -> None:
        """Kill the engine if it runs."""
        process = int(self.systemctl("show"))
        if process:
            os.kill(process, signal.SIGKILL)


def _write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
