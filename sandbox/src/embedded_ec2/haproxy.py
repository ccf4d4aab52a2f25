"""The process HAProxy, which runs in place of Network Load Balancers, with a front end for each listener.

Each change is a reload: a new worker process takes over the listening sockets. The old worker stays until its sessions
have ended. The new worker reads the servers' health from a file that HAProxy defines.
"""

import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from embedded_ec2 import processes
from embedded_ec2.errors import SandboxError
from embedded_ec2.ledger import Ledger

START_LIMIT_SECONDS = 30.0
ANSWER_LIMIT_SECONDS = 5.0
_LOOK_EACH_SECONDS = 0.02
# The columns of `show servers state`, as in HAProxy's management.txt, and a line for a server that is down and was
# never checked. Without this line HAProxy would treat a new server as up.
_STATE_COLUMNS = (
    "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
    "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state "
    "bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr "
    "srv_agent_addr srv_agent_port"
)
_STATE_OF_NEW = "{number} {pool} {place} {name} {address} 0 0 1 1 0 1 0 0 14 0 0 0 - {port} - 0 0 - - 0"


@dataclass(frozen=True)
class Server:
    """A target of a load balancer, with a name, an address and a port."""

    name: str
    address: str
    port: int


@dataclass(frozen=True)
class Check:
    """The health check of a target group.

    A target becomes healthy after `rise` good results in a row, and unhealthy after `fall` bad results in a row.
    """

    protocol: str
    port: int | None
    path: str
    codes: str
    interval_s: int
    timeout_s: int
    rise: int
    fall: int


@dataclass(frozen=True)
class Pool:
    """A target group for HAProxy. Its targets get sessions from the address of one load balancer."""

    name: str
    servers: tuple[Server, ...]
    check: Check | None
    source: str
    keeps_client: bool
    proxy_protocol: bool
    sticky: bool


@dataclass(frozen=True)
class FrontEnd:
    """A listener of a load balancer, and the pool to which it forwards."""

    name: str
    address: str
    port: int
    pool: str
    idle_s: int


@dataclass(frozen=True)
class Seen:
    """HAProxy's present result for a server: its status, and the result of its last check."""

    status: str
    check: str

    @property
    def is_up(self) -> bool:
        return self.status.startswith("UP") or self.status == "no check"


def render(directory: Path, front_ends: Iterable[FrontEnd], pools: Iterable[Pool]) -> str:
    """Return the text of the configuration file. The same arguments give the same text."""
    lines = [
        "global",
        f"  stats socket {directory}/stats.sock mode 600 level admin expose-fd listeners",
        f"  server-state-file {directory}/servers",
        "  nbthread 1",
        "  maxconn 2000",
        "defaults",
        "  mode tcp",
        "  load-server-state-from-file global",
        "  timeout connect 5s",
        "  timeout client 350s",
        "  timeout server 350s",
    ]
    for front_end in front_ends:
        lines += [
            f"frontend {front_end.name}",
            f"  bind {front_end.address}:{front_end.port}",
            f"  timeout client {front_end.idle_s}s",
            f"  default_backend {front_end.pool}",
        ]
    for pool in pools:
        lines += [f"backend {pool.name}", f"  balance {'source' if pool.sticky else 'roundrobin'}"]
        if pool.source:
            lines.append(f"  source {pool.source}{' usesrc clientip' if pool.keeps_client else ''}")
        lines += _check_lines(pool.check)
        words = _server_words(pool)
        lines += [f"  server {each.name} {each.address}:{each.port}{words}" for each in pool.servers]
    return "\n".join(lines) + "\n"


def _check_lines(check: Check | None) -> list[str]:
    if check is None:
        return []
    lines = [f"  timeout check {check.timeout_s}s"]
    if check.protocol in ("HTTP", "HTTPS"):
        lines += ["  option httpchk", f"  http-check send meth GET uri {check.path}"]
        # HAProxy accepts several status codes in the same form as AWS: 200-399 or 200,201.
        lines.append(f"  http-check expect status {check.codes}")
    return lines


def _server_words(pool: Pool) -> str:
    words = " send-proxy-v2" if pool.proxy_protocol else ""
    check = pool.check
    if check is None:
        return words
    words += f" check inter {check.interval_s}s rise {check.rise} fall {check.fall}"
    if check.port:
        words += f" port {check.port}"
    if check.protocol == "HTTPS":
        words += " check-ssl verify none"
    return words


class HAProxy:
    """The HAProxy process. Only one thread may start and change it; any thread may query it."""

    def __init__(self, directory: Path, ledger: Ledger, prefix: Sequence[str] = (), netns: str = "") -> None:
        self._directory = directory
        self._ledger = ledger
        self._prefix = [*prefix, *(["ip", "netns", "exec", netns] if netns else [])]
        self._netns = netns
        self._process: subprocess.Popen[bytes] | None = None
        self._text = ""
        self._known: set[tuple[str, str]] = set()

    @property
    def _socket(self) -> Path:
        return self._directory / "master.sock"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def apply(self, front_ends: Sequence[FrontEnd], pools: Sequence[Pool]) -> None:
        """Configure these front ends and pools, and return when they are active. If nothing has changed, do nothing.

        When HAProxy rejects the new configuration, raise SandboxError with its error text. The earlier configuration
        then stays active.
        """
        text = render(self._directory, front_ends, pools)
        if text == self._text and self.is_running:
            return
        if not self._directory.exists():
            self._ledger.add("tree", str(self._directory))
            self._directory.mkdir(mode=0o700, parents=True)
        (self._directory / "servers").write_text(self._states(pools))
        configuration = self._directory / "haproxy.cfg"
        unproven = configuration.with_suffix(".new")
        unproven.write_text(text)
        self._prove(unproven)
        unproven.replace(configuration)
        if self.is_running:
            before = self._workers()[0]
            self.ask("reload")
            self._await(lambda: self._workers()[0] not in ("", before))
        else:
            self._start(configuration)
        self._text = text
        self._known = {(pool.name, server.name) for pool in pools for server in pool.servers}

    def _prove(self, configuration: Path) -> None:
        argv = [*self._prefix, "haproxy", "-c", "-f", str(configuration)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SandboxError(f"HAProxy does not take {configuration}: {done.stderr.strip()}")

    def _start(self, configuration: Path) -> None:
        if self._netns:
            self._ledger.add("netns-processes", self._netns)
        self._socket.unlink(missing_ok=True)
        argv = ["setpriv", "--pdeathsig", "KILL", *self._prefix, "haproxy", "-W"]
        argv += ["-S", f"{self._socket},mode,600", "-f", str(configuration)]
        with (self._directory / "haproxy.log").open("ab") as log:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self._process = process
        self._ledger.add("process", f"{process.pid} {processes.start_ticks(process.pid) or 0}")
        self._await(lambda: bool(self._workers()[0]))

    def stop(self) -> None:
        """End the process with all its sessions, and remove its files."""
        process, self._process, self._text = self._process, None, ""
        if process is None:
            return
        process.terminate()  # the master ends its workers before itself
        try:
            process.wait(ANSWER_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for kind, identity in self._ledger.entries():
            if kind == "process" and identity.split()[0] == str(process.pid):
                self._ledger.undo(kind, identity)
        if self._netns:
            self._ledger.undo("netns-processes", self._netns)
        self._ledger.undo("tree", str(self._directory))

    def ask(self, command: str) -> str:
        """Return the master process's answer to a command. Raises OSError when it does not answer."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_LIMIT_SECONDS)
            connection.connect(str(self._socket))
            connection.sendall(command.encode() + b"\n")
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while data := connection.recv(65536):
                answer += data
        return answer.decode(errors="replace")

    def _await(self, holds: Callable[[], bool]) -> None:
        """Wait until the condition holds.

        Raises SandboxError when the process ends or does not answer in time. An OSError of the condition is ignored:
        during a reload the master process starts anew and does not answer.
        """
        ends = time.monotonic() + START_LIMIT_SECONDS
        while time.monotonic() < ends:
            with suppress(OSError):
                if holds():
                    return
            if not self.is_running:
                break
            time.sleep(_LOOK_EACH_SECONDS)
        raise SandboxError(f"HAProxy does not answer; its last words are in {self._directory}/haproxy.log")

    def _workers(self) -> list[str]:
        """Return the ids of HAProxy's worker processes.

        The first accepts sessions. The others only finish old sessions.
        """
        current, old = "", []
        section = ""
        for line in self.ask("show proc").splitlines():
            if line.startswith("# "):
                section = line
            elif line.split()[1:2] == ["worker"]:
                if section == "# workers":
                    current = line.split()[0]
                else:
                    old.append(line.split()[0])
        return [current, *old]

    def _states(self, pools: Sequence[Pool]) -> str:
        """Return the text of the state file from which the next worker reads the servers' health."""
        kept: list[str] = []
        if self.is_running:
            lines = self.ask("@1 show servers state").splitlines()
            kept = [line for line in lines if len(line.split()) > 4 and not line.startswith("#")]
            kept = [line for line in kept if (line.split()[1], line.split()[3]) in self._known]
        new = [
            _STATE_OF_NEW.format(
                number=number, pool=pool.name, place=place, name=each.name, address=each.address, port=each.port
            )
            for number, pool in enumerate(pools, 2)
            for place, each in enumerate(pool.servers, 1)
            if (pool.name, each.name) not in self._known and pool.check
        ]
        return "\n".join(["1", f"# {_STATE_COLUMNS}", *kept, *new, ""])

    def servers(self) -> dict[tuple[str, str], Seen]:
        """Return a dictionary: (pool, server) → HAProxy's present result for the server.

        Raises ValueError for an answer that is no table.
        """
        header, *rows = self.ask("@1 show stat").splitlines()
        if not header.startswith("# pxname,svname,"):
            raise ValueError(header)
        names = header.removeprefix("# ").split(",")
        seen = {}
        for row in rows:
            values = dict(zip(names, row.split(","), strict=False))
            if values.get("svname") not in (None, "FRONTEND", "BACKEND"):
                seen[values["pxname"], values["svname"]] = Seen(values["status"], values.get("check_status", ""))
        return seen

    def _sessions(self, pool: str, server: str) -> Iterator[tuple[str, str]]:
        """Yield (worker's id, session's id) for each session with a server. Sessions of old workers are included."""
        for worker in self._workers():
            for line in self.ask(f"@!{worker} show sess").splitlines():
                if f" be={pool} srv={server} " in line:
                    yield worker, line.partition(":")[0]

    def sessions(self, pool: str, server: str) -> int:
        return sum(1 for _ in self._sessions(pool, server))

    def cut(self, pool: str, server: str) -> None:
        """End every session with a server. Sessions of old workers are ended as well."""
        for worker, session in list(self._sessions(pool, server)):
            self.ask(f"@!{worker} shutdown session {session}")
