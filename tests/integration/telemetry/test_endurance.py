"""Ten thousand clients connect and disconnect. Then telemetry uses no more memory and descriptors than before.

Python itself reports how much memory the process uses. Resident memory is not compared, because it also contains what
the allocator keeps from the busiest moment. That amount is larger on a slow machine. It could hide a leak or look like
a leak.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from trading_telemetry.protocol import REQUEST_TIMEOUT_S

from tests.integration.telemetry.test_page import free_port, wait_for_port
from tests.unit.telemetry.conftest import Publisher

CLIENTS = 10_000
ADDRESSES = 100
FORGOTTEN_BYTES = 1_000_000
"""By how much the memory may grow. If every client left only 100 bytes, it would grow by this much."""
STREAM = b"GET /stream HTTP/1.1\r\nhost: test\r\n\r\n"
LATEST = b"GET /latest HTTP/1.1\r\nhost: test\r\n\r\n"
PARTIAL = b"GET /latest HTTP/1.1\r\nho"
SETTLED_BYTES = 100_000
WAIT_S = 60.0
POLL_S = 0.2
SERVICE = """
import gc, signal, sys, tracemalloc
from trading_telemetry.__main__ import main

def say_what_is_held(*_):
    gc.collect()
    print(tracemalloc.get_traced_memory()[0], flush=True)

tracemalloc.start()
signal.signal(signal.SIGUSR1, say_what_is_held)
sys.exit(main(sys.argv[1:]))
"""


@dataclass
class Service:
    process: "subprocess.Popen[str]"
    port: int

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def held_bytes(self) -> int:
        """Return how many bytes Python has allocated in the service's process and not freed."""
        assert self.process.stdout is not None
        self.process.send_signal(signal.SIGUSR1)
        return int(self.process.stdout.readline())

    def settled_bytes(self) -> int:
        """Wait until the service's memory no longer shrinks, and return the allocated bytes.

        After a time limit, the service gives up incomplete requests and frees their memory.
        """
        deadline_s = time.monotonic() + WAIT_S
        before, held = sys.maxsize, self.held_bytes()
        while held < before - SETTLED_BYTES and time.monotonic() < deadline_s:
            given_up_s = time.monotonic() + REQUEST_TIMEOUT_S
            while time.monotonic() < given_up_s:
                time.sleep(POLL_S)
            before, held = held, self.held_bytes()
        return held

    def visit(self, numbers: range) -> int:
        """For each number, connect, send a request and close the connection. Return how many requests were answered.

        The connections use many client addresses, because the service limits how often one address may connect.
        """
        answered = 0
        for number in numbers:
            with socket.socket() as client:
                client.settimeout(WAIT_S)
                client.bind((f"127.0.1.{1 + number % ADDRESSES}", 0))
                client.connect(("127.0.0.1", self.port))
                request = (STREAM, LATEST, PARTIAL)[number % 3]
                client.sendall(request)
                if request is not PARTIAL:
                    answered += client.recv(100).startswith(b"HTTP/1.1 ")
        return answered


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    Publisher(tmp_path / "engine.shm")
    port = free_port()
    config = tmp_path / "telemetry.toml"
    config.write_text(
        f'[http]\naddress = "127.0.0.1"\nport = {port}\n[shared_memory]\npath = "{tmp_path}/engine.shm"\n'
        f'[slo]\nfile = "{tmp_path}/none.toml"\n'
    )
    command = [sys.executable, "-c", SERVICE, "--config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            wait_for_port(port)
            yield Service(process, port)
        finally:
            process.terminate()


def test_ten_thousand_disconnects_leave_no_descriptor_and_no_memory(service: Service) -> None:
    held = []
    # In the first round, the service imports modules and fills caches that it keeps.
    for _round in range(2):
        assert service.visit(range(CLIENTS)) == CLIENTS - CLIENTS // 3
        held.append((service.settled_bytes(), service.descriptors()))
    (bytes_before, descriptors_before), (bytes_after, descriptors_after) = held
    assert bytes_after < bytes_before + FORGOTTEN_BYTES, f"{bytes_after - bytes_before} bytes more are held"
    assert descriptors_after <= descriptors_before
    assert service.visit(range(3, 5)) == 2
