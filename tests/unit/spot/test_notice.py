"""trading-spot waits until AWS announces that it will take a Spot instance back. Then it runs a command.

A server in the test answers as AWS's metadata service.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

NOTICE = '{"action": "terminate", "time": "2026-11-23T18:02:00Z"}'


class Service(ThreadingHTTPServer):
    """A fake metadata service.

    `answers` has the HTTP status of each later request. The last one is repeated.
    """

    def __init__(self, answers: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = answers
        self.tokens = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_PUT(self) -> None:
        assert self.path == "/latest/api/token"
        assert 1 <= int(self.headers["X-aws-ec2-metadata-token-ttl-seconds"]) <= 21600
        self.server.tokens += 1
        self._answer(200, f"token-{self.server.tokens}")

    def do_GET(self) -> None:
        assert self.path == "/latest/meta-data/spot/instance-action"
        if self.headers["X-aws-ec2-metadata-token"] != f"token-{self.server.tokens}":
            self._answer(401, "")
            return
        answers = self.server.answers
        status = answers.pop(0) if len(answers) > 1 else answers[0]
        self._answer(status, NOTICE if status == 200 else "")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    served = Service([200])
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


def watch(address: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run trading-spot as its unit does, but with shorter pauses. Return the finished process."""
    arguments = ["-m", "trading_spot", "--metadata", address, "--poll", "0.01", "--", *command]
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=60)


# The meaning of the answers: 404, there is no notice yet. 401, the token has expired. 500, the service has a temporary
# error.
@pytest.mark.parametrize("answers", [[200], [404, 404, 200], [404, 401, 200], [500, 404, 200]])
def test_the_command_runs_when_the_notice_comes(service: Service, tmp_path: Path, answers: list[int]) -> None:
    service.answers = answers
    done = watch(service.address, "touch", str(tmp_path / "drained"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "drained").exists()
    assert NOTICE in done.stderr


def test_an_ended_token_is_replaced(service: Service) -> None:
    service.answers = [404, 401, 200]
    watch(service.address, "true")
    assert service.tokens == 2


def test_the_command_does_not_run_without_a_notice(service: Service, tmp_path: Path) -> None:
    service.answers = [404] * 5 + [200]
    # The command runs only after the notice. So by then all answers before the notice have been used.
    assert watch(service.address, "touch", str(tmp_path / "drained")).returncode == 0
    assert service.answers == [200]


def test_the_commands_failure_is_the_programs(service: Service) -> None:
    assert watch(service.address, "false").returncode == 1
