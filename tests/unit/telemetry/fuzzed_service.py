"""Runs telemetry for tests with arbitrary requests: python -m tests.unit.telemetry.fuzzed_service DIRECTORY

The process runs two services, and only one of them requires a token. It first prints their ports. For each line of its
input, it prints how many memory blocks Python uses. It ends when its input ends. The rate of requests is not limited,
because most requests would then be refused too early. Incomplete requests are given up soon. The history is short, so
that memory can only grow by a leak.
"""

from __future__ import annotations

import dataclasses
import functools
import gc
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import uvicorn
from trading_engine.published.shm import StateWriter
from trading_telemetry import access, history, protocol
from trading_telemetry.__main__ import listen, settings
from trading_telemetry.app import make_app
from trading_telemetry.config import load_config
from uvicorn.middleware import proxy_headers

TOKEN = "correct-horse-battery"


@dataclasses.dataclass(frozen=True)
class Target:
    """A running process, and the ports of its two services. `guarded_port` belongs to the one that requires a token."""

    process: subprocess.Popen[str]
    open_port: int
    guarded_port: int

    @property
    def resident_bytes(self) -> int:
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    @property
    def held_blocks(self) -> int:
        """The number of memory blocks that Python uses. A leak increases it, and fragmentation of memory does not."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@contextmanager
def started(directory: Path) -> Iterator[Target]:
    """Run the process until the context ends, and yield it.

    Raises AssertionError at the end if the process logged an error.
    """
    command = [sys.executable, "-m", "tests.unit.telemetry.fuzzed_service", str(directory)]
    # The real service has one thread. If all threads share one heap, the memory is fragmented as in the real service.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    with (directory / "errors").open("w+") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        )
        with process:
            assert process.stdout is not None
            ports = json.loads(process.stdout.readline())
            try:
                yield Target(process, *ports)
            finally:
                process.terminate()
        errors.seek(0)
        said = errors.read()
        assert said == "", said


def publish(writer: StateWriter) -> None:
    """Publish the engine's state repeatedly, as a running engine does. /health therefore answers 200."""
    while True:
        writer.publish([], [], [])
        time.sleep(0.2)


def serve(directory: Path) -> None:
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    access.BURST = access.REQUESTS_PER_S = float("inf")
    protocol.REQUEST_TIMEOUT_S = 3.0
    # Use smaller limits. With the usual limits, memory would grow for an hour, until the history and the caches are
    # full.
    history.KEPT_S = 60
    access.MAX_ADDRESSES = 64
    cast("Any", proxy_headers).functools = SimpleNamespace(
        lru_cache=lambda maxsize: functools.lru_cache(min(maxsize, 64))
    )
    threading.Thread(target=publish, args=(StateWriter(directory / "engine.shm", "1.2.3", "os"),), daemon=True).start()
    (directory / "token").write_text(TOKEN)
    (directory / "telemetry.toml").write_text(
        f'[http]\naddress = "127.0.0.1"\n[shared_memory]\npath = "{directory}/engine.shm"\n'
        f'[slo]\nfile = "{directory}/slo.toml"\n'
    )
    config = dataclasses.replace(load_config(directory / "telemetry.toml"), port=0)
    ports = []
    for each in (config, dataclasses.replace(config, token_path=directory / "token")):
        listener = listen(each)
        ports.append(listener.getsockname()[1])
        server = uvicorn.Server(settings(make_app(each), each))
        threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
    print(json.dumps(ports), flush=True)
    for _ in sys.stdin:
        gc.collect()
        print(sys.getallocatedblocks(), flush=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
