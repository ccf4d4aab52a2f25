"""Ten thousand clients that come and go leave nothing behind."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.integration.telemetry.test_page import free_port, wait_for_port
from tests.unit.telemetry.conftest import Publisher

CLIENTS = 10_000
ADDRESSES = 100
STREAM = b"GET /stream HTTP/1.1\r\nhost: test\r\n\r\n"
LATEST = b"GET /latest HTTP/1.1\r\nhost: test\r\n\r\n"
PARTIAL = b"GET /latest HTTP/1.1\r\nho"
WAIT_S = 20.0


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def visit(port: int, numbers: range) -> int:
    """Connect from many addresses (each has its own rate), say something, and leave; return how many were answered."""
    answered = 0
    for number in numbers:
        with socket.socket() as client:
            client.settimeout(WAIT_S)
            client.bind((f"127.0.1.{1 + number % ADDRESSES}", 0))
            client.connect(("127.0.0.1", port))
            request = (STREAM, LATEST, PARTIAL)[number % 3]
            client.sendall(request)
            if request is not PARTIAL:
                answered += client.recv(100).startswith(b"HTTP/1.1 ")
    return answered


def test_ten_thousand_disconnects_leave_no_descriptor_and_no_memory(tmp_path: Path) -> None:
    Publisher(tmp_path / "engine.shm")
    port = free_port()
    config = tmp_path / "telemetry.toml"
    config.write_text(
        f'[http]\naddress = "127.0.0.1"\nport = {port}\n[shared_memory]\npath = "{tmp_path}/engine.shm"\n'
        f'[slo]\nfile = "{tmp_path}/none.toml"\n'
    )
    process = subprocess.Popen([sys.executable, "-m", "trading_telemetry", "--config", config])
    try:
        wait_for_port(port)
        # What many at once take stays with the allocator; a leak grows on.
        visit(port, range(CLIENTS // 2))
        before, memory_before = descriptors(process.pid), resident_bytes(process.pid)
        assert visit(port, range(CLIENTS)) == CLIENTS - CLIENTS // 3
        deadline_s = time.monotonic() + WAIT_S
        while descriptors(process.pid) > before:
            assert time.monotonic() < deadline_s, "descriptors stay open"
            time.sleep(0.1)
        assert resident_bytes(process.pid) - memory_before < 16_000_000
        assert visit(port, range(3, 5)) == 2
    finally:
        process.terminate()
        process.wait(WAIT_S)
