"""Modules that read what the readiness checklist needs.

They try a login, request a page, and read about updates, killed units and documents.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from ansible_collections.lowlatency.trading.plugins.modules import documents_info, login_answer_info, updates_info
from trading_engine.wire import soupbintcp

from .conftest import RunModule

ROOT = Path(__file__).parents[3]


@contextmanager
def answering(reply: Callable[[bytes], bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Run a server that answers the first bytes of one client.

    Yield the server's port, and a list to which everything that the client sends is added.
    """
    said: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.settimeout(10)
                said.append(client.recv(4096))
                client.sendall(reply(said[0]))
                with suppress(ConnectionResetError):  # a client may disconnect before it has read all
                    while more := client.recv(4096):
                        said.append(more)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], said
        thread.join(10)
        assert not thread.is_alive()


def log_in(run: RunModule, port: int, **more: object) -> dict[str, object]:
    return run("login_answer_info", host="127.0.0.1", port=port, account="BENCH", password="secret", **more)


def test_a_login_is_what_the_engine_takes_for_one_and_ends_with_a_logout(run_module: RunModule) -> None:
    accepted = soupbintcp.debug("hello") + soupbintcp.login_accepted("S00042", 17)
    with answering(lambda _said: accepted) as (port, said):
        found = log_in(run_module, port)
    assert (found["accepted"], found["session"], found["sequence"]) == (True, "S00042", 17)
    assert found["target"] == f"127.0.0.1:{port}"
    request = soupbintcp.parse_login_request(said[0][3:])
    assert request == soupbintcp.LoginRequest("BENCH", "secret", "", 0)
    assert b"".join(said[1:]) == soupbintcp.LOGOUT_REQUEST_PACKET


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (soupbintcp.login_rejected("A"), "login rejected: A"),
        (b"", "the connection ended before an answer"),
        (soupbintcp.packet(soupbintcp.LOGIN_ACCEPTED, b"nonsense and more"), "no answer to a login"),
    ],
)
def test_what_is_no_accepted_login_is_said(run_module: RunModule, reply: bytes, answer: str) -> None:
    def end_after(said: bytes) -> bytes:
        assert said
        return reply

    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.sendall(end_after(client.recv(4096)))

        thread = threading.Thread(target=serve)
        thread.start()
        found = log_in(run_module, server.getsockname()[1])
        thread.join(10)
    assert found["accepted"] is False
    assert answer in str(found["answer"])


def test_a_port_where_nobody_listens_refuses(run_module: RunModule) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert "refused" in str(log_in(run_module, port)["answer"])


def test_a_clear_answer_is_no_tls(run_module: RunModule) -> None:
    with answering(lambda _said: b"\x00\x01H" * 4) as (port, _said):
        found = log_in(run_module, port, tls=True)
    assert found["accepted"] is False
    assert "SSL" in str(found["answer"])


def test_a_password_that_soupbintcp_cannot_carry_is_refused(run_module: RunModule) -> None:
    report = run_module("login_answer_info", host="127.0.0.1", port=1, account="BENCH", password="")
    assert "password: SoupBinTCP takes 1 to 10" in report["msg"]


def test_who_sends_heartbeats_and_no_answer_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    class Chatty:
        """A fake connection that never ends, on which a heartbeat arrives each second.

        Each heartbeat advances the test's clock.
        """

        now_s = 0.0

        def __init__(self) -> None:
            self.left = b""

        def recv(self, size: int) -> bytes:
            if not self.left:
                Chatty.now_s += 1
                self.left = soupbintcp.packet(soupbintcp.SERVER_HEARTBEAT, b"")
            found, self.left = self.left[:size], self.left[size:]
            return found

    monkeypatch.setattr(time, "monotonic", lambda: Chatty.now_s)
    with pytest.raises(TimeoutError):
        login_answer_info.first_answer(Chatty())


class Guarded(BaseHTTPRequestHandler):
    """A server. It answers /health to all clients, and other paths only to clients with the token.

    The path /gone does not exist.
    """

    def do_GET(self) -> None:
        known = self.path == "/health" or self.headers.get("Authorization") == "Bearer t0ken"
        self.send_response(404 if self.path == "/gone" else 200 if known else 401)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Log nothing, to keep the output of the tests short."""


@pytest.fixture
def guarded() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Guarded) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_page_is_asked_for_with_the_token_and_without(run_module: RunModule, guarded: str) -> None:
    report = run_module("page_answers_info", url=guarded, paths=["/", "/health", "/gone"], token="t0ken")
    statuses = {path: (each["with"], each["without"]) for path, each in report["answers"].items()}
    assert statuses == {"/": (200, 401), "/health": (200, 200), "/gone": (404, 404)}
    assert report["asks_for_token"] is True


def test_a_page_that_does_not_answer_says_why(run_module: RunModule) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    report = run_module("page_answers_info", url=f"http://127.0.0.1:{port}", paths=["/"])
    assert report["answers"]["/"]["with"] == 0
    assert "refused" in report["answers"]["/"]["said"].lower()


def test_apt_s_security_updates_are_told_from_others() -> None:
    simulated = """\
NOTE: This is only a simulation!
Inst libssl3 [3.0.15-1] (3.0.17-1~deb12u2 Debian-Security:12/oldstable-security [amd64])
Inst tzdata [2025a-0] (2025b-0+deb12u1 Debian:12.11/oldstable [all]) []
Conf libssl3 (3.0.17-1~deb12u2 Debian-Security:12/oldstable-security [amd64])
Inst new (1.0 Debian:12.11/oldstable [all])
"""
    assert updates_info.of_apt(simulated) == (["libssl3"], ["tzdata"])


def test_dnf_s_security_updates_are_told_from_others() -> None:
    advisories = (
        "ALAS2023-2026-1 Important/Sec. openssl-libs-1:3.2.2-1.amzn2023.aarch64\nALAS2023-2026-2 bugfix vim-9-1.x\n"
    )
    updates = "openssl-libs.aarch64   1:3.2.2-1.amzn2023   amazonlinux\nvim.aarch64   9.1-1   amazonlinux\n\n"
    assert updates_info.of_dnf(advisories, updates) == (["openssl-libs-1:3.2.2-1.amzn2023.aarch64"], ["vim.aarch64"])


def test_amazon_linux_is_asked_for_its_newest_release() -> None:
    amazon = 'NAME="Amazon Linux"\nID="amzn"\nID_LIKE="fedora"\n'
    assert updates_info.of_cache("dnf", amazon)[-1] == "--releasever=latest"
    assert "--releasever=latest" not in updates_info.of_cache("dnf", "ID=fedora\n")


def test_a_reboot_is_due_where_dnf_says_so_and_not_where_it_cannot_tell() -> None:
    assert updates_info.asks_for_reboot("  * glibc\n\nReboot is required to fully utilize these updates.")
    assert not updates_info.asks_for_reboot("Reboot should not be necessary.")
    assert not updates_info.asks_for_reboot("No such command: needs-restarting. Please use /usr/bin/dnf --help")


def test_lists_that_were_never_read_have_no_age(tmp_path: Path) -> None:
    assert updates_info.age_s([str(tmp_path / "none")], 10.0) is None
    (tmp_path / "one").touch()
    assert updates_info.age_s([str(tmp_path / "one")], (tmp_path / "one").stat().st_mtime + 60) == 60


# A fake systemctl with one unit. FOLDER/pid has the unit's process id. FOLDER/next has its id after a kill.
SYSTEMCTL = """\
#!/bin/sh
case $1 in
show)
    echo "MainPID=$(cat FOLDER/pid)"; echo SubState=running
    if [ "$(cat FOLDER/pid)" = 0 ]; then echo ActiveState=failed; else echo ActiveState=active; fi ;;
kill) cp FOLDER/next FOLDER/pid ;;
esac
"""


@pytest.mark.parametrize(
    ("pid", "after", "problem"),
    [("10", "11", ""), ("10", "10", "not back after 0 s"), ("0", "11", "it did not run before the kill")],
)
def test_a_unit_is_back_when_it_has_another_process(
    run_module: RunModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pid: str, after: str, problem: str
) -> None:
    program = tmp_path / "systemctl"
    program.write_text(SYSTEMCTL.replace("FOLDER", str(tmp_path)), encoding="ascii")
    program.chmod(0o755)
    (tmp_path / "pid").write_text(pid, encoding="ascii")
    (tmp_path / "next").write_text(after, encoding="ascii")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    report = run_module("unit_kill_trial", units=["a.service"], wait_seconds=0)
    assert report["units"]["a.service"]["problem"].startswith(problem)
    assert bool(report["units"]["a.service"]["problem"]) is bool(problem)
    assert (tmp_path / "pid").read_text(encoding="ascii") == (pid if pid == "0" else after)


def test_the_documents_name_commands_and_variables_that_exist() -> None:
    found = documents_info.observe(ROOT, ["trading_operator_cidr", "trading_vpc_cidr"])
    assert found["unknown_playbooks"] == []
    assert found["unknown_variables"] == []
    assert found["pages"] > 10
    assert found["named"] > 10


def test_a_command_and_a_variable_that_do_not_exist_are_found(run_module: RunModule, tmp_path: Path) -> None:
    for folder in ("playbooks", "docs", "roles/a/meta"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "playbooks/site.yml").touch()
    (tmp_path / "roles/a/meta/argument_specs.yml").write_text("      a_known:\n", encoding="ascii")
    page = "`ansible-playbook lowlatency.trading.gone -e a_known=1`, playbooks/site.yml, "
    page += "-e '{\"a_lost\": 1}' -e ansible_user=x"
    (tmp_path / "docs/page.md").write_text(page, encoding="ascii")
    report = run_module("documents_info", folder=str(tmp_path), variables=["a_known", "trading_clent_cidrs"])
    assert report["unknown_playbooks"] == ["gone (docs/page.md)"]
    assert report["unknown_variables"] == ["a_lost (docs/page.md)", "trading_clent_cidrs"]
    assert (report["pages"], report["named"]) == (1, 4)
