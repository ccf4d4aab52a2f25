"""What a subscriber receives from a real feed process, while messages are added to the log that the feed reads."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from trading_engine.settings import passwords
from trading_engine.wire import soupbintcp

from tests.unit.feed.test_log import SESSION, binary_file, write

PASSWORD = "secret"
HASH = passwords.hash_password(PASSWORD)
MESSAGES = [b"A%05d" % number for number in range(1, 3001)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


class Subscriber:
    """A SoupBinTCP client that subscribes to the feed. Its calls wait for data."""

    open: ClassVar[list[socket.socket]] = []

    def __init__(
        self, port: int, sequence: int = 1, session: str = "", password: str = PASSWORD, account: str = "MD"
    ) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.open.append(self.socket)
        self.socket.sendall(soupbintcp.login_request(account, password, session, sequence))
        self._splitter = soupbintcp.Splitter()
        self._packets: list[tuple[int, bytes]] = []

    def next(self) -> tuple[int, bytes]:
        """Return the next packet that is not a heartbeat. Raises EOFError when the feed has closed the connection."""
        while True:
            while self._packets:
                packet = self._packets.pop(0)
                if packet[0] != soupbintcp.SERVER_HEARTBEAT:
                    return packet
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self._packets += self._splitter.feed(data)

    def messages(self, count: int) -> list[bytes]:
        packets = [self.next() for _ in range(count)]
        assert {kind for kind, _ in packets} == {soupbintcp.SEQUENCED}
        return [payload for _, payload in packets]

    def accepted(self) -> soupbintcp.LoginAccepted:
        kind, payload = self.next()
        assert kind == soupbintcp.LOGIN_ACCEPTED
        return soupbintcp.parse_login_accepted(payload)


def start(tmp_path: Path, port: int) -> "subprocess.Popen[str]":
    """Start the feed. Return its process once the feed accepts connections at `port`."""
    config = tmp_path / "engine.toml"
    config.write_text(
        f"""
        [market_data]
        address = "127.0.0.1"
        port = {port}
        [itch]
        directory = "{tmp_path}/itch"
        [accounts.MD]
        password = "{HASH}"
        [[symbol]]
        name = "TEST"
        reference_price = "100.00"
        """
    )
    command = [sys.executable, "-m", "trading_feed", "--config", str(config)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def wait_for_port(port: int, process: "subprocess.Popen[str]") -> None:
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.02)


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "itch").mkdir()
    write(tmp_path / "itch", 1, MESSAGES)
    port = free_port()
    process = start(tmp_path, port)
    wait_for_port(port, process)
    yield port
    while Subscriber.open:
        Subscriber.open.pop().close()
    process.terminate()
    assert process.wait(10) == 0
    assert process.stderr is not None
    with process.stderr as log:
        assert "Traceback" not in log.read()


def test_replay_from_the_wanted_number_and_then_what_the_engine_appends(feed: int, tmp_path: Path) -> None:
    subscriber = Subscriber(feed, sequence=2990)
    assert subscriber.accepted() == (SESSION, 2990)
    assert subscriber.messages(11) == MESSAGES[2989:]
    with (tmp_path / "itch" / f"{SESSION}-{1:020}.itch").open("ab") as log:
        log.write(binary_file([b"live"]))
    assert subscriber.messages(1) == [b"live"]


def test_number_zero_means_from_now_on_and_everybody_gets_the_same(feed: int, tmp_path: Path) -> None:
    subscribers = [Subscriber(feed, sequence=0) for _ in range(3)]
    assert [subscriber.accepted().sequence for subscriber in subscribers] == [3001] * 3
    with (tmp_path / "itch" / f"{SESSION}-{1:020}.itch").open("ab") as log:
        log.write(binary_file([b"one", b"two"]))
    assert [subscriber.messages(2) for subscriber in subscribers] == [[b"one", b"two"]] * 3


def test_a_new_session_ends_the_old_one_after_its_last_message(feed: int, tmp_path: Path) -> None:
    subscriber = Subscriber(feed, sequence=3000)
    subscriber.accepted()
    write(tmp_path / "itch", 1, [b"day two"], "2026112400")
    assert subscriber.messages(1) == MESSAGES[-1:]
    assert subscriber.next()[0] == soupbintcp.END_OF_SESSION
    with pytest.raises(EOFError):
        subscriber.next()
    assert Subscriber(feed, sequence=1).accepted().session == "2026112400"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"password": "wrong"}, b"A"),
        ({"session": "1999010100"}, b"S"),
        ({"sequence": 3002}, b"S"),
    ],
)
def test_a_login_that_cannot_be_served_is_rejected_with_the_reason(
    feed: int, options: dict[str, object], reason: bytes
) -> None:
    subscriber = Subscriber(feed, **options)  # type: ignore[arg-type]
    assert subscriber.next() == (soupbintcp.LOGIN_REJECTED, reason)
    with pytest.raises(EOFError):
        subscriber.next()


def test_what_is_no_packet_ends_the_connection_and_nobody_elses(feed: int) -> None:
    good = Subscriber(feed, sequence=0)
    good.accepted()
    with socket.create_connection(("127.0.0.1", feed), 10) as stranger:
        stranger.sendall(b"\x00\x00\x00\x00")
        assert stranger.recv(1) == b""
    second = Subscriber(feed, sequence=0)
    assert second.accepted().sequence == 3001


def test_a_subscriber_that_does_not_read_keeps_nobody_from_reading(feed: int, tmp_path: Path) -> None:
    path = tmp_path / "itch" / f"{SESSION}-{1:020}.itch"
    lazy = Subscriber(feed, sequence=1)
    with path.open("ab") as log:
        log.write(binary_file([b"x" * 40] * 50_000))
    reader = Subscriber(feed, sequence=3001)
    reader.accepted()
    assert len(reader.messages(50_000)) == 50_000
    lazy.accepted()
    assert lazy.messages(3000) == MESSAGES


def test_a_port_in_use_and_a_missing_directory_are_one_line_each(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(tmp_path, port)
        assert process.communicate(timeout=20)[1].startswith(
            f"trading-feed: error: cannot listen on 127.0.0.1:{port}: Address already in use"
        )
        assert process.returncode == 2
    process = start(tmp_path, port)
    error = process.communicate(timeout=20)[1]
    assert process.returncode == 2
    assert error == (
        f"trading-feed: error: cannot read [itch] directory {tmp_path}/itch: "
        "No such file or directory; run the engine first\n"
    )
