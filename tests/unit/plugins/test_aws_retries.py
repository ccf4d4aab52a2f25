"""A module repeats a request that AWS has throttled. It does so for each page of a list."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import aws

from .conftest import RunModule

MODULES = Path(__file__).parents[3] / "plugins/modules"
THROTTLED = (
    503,
    "<Response><Errors><Error><Code>RequestLimitExceeded</Code><Message>Request limit exceeded.</Message></Error>"
    "</Errors><RequestID>1</RequestID></Response>",
)
_ANSWER = "DescribeInstanceTypeOfferingsResponse"
NO_OFFERS = (200, f"<{_ANSWER}><requestId>1</requestId><instanceTypeOfferingSet/></{_ANSWER}>")


class Ec2(ThreadingHTTPServer):
    """A fake EC2 that records requests. It gives its answers in order, and then repeats the last one."""

    def __init__(self, *answers: tuple[int, str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Ec2

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.asked.append((parse_qs(body)["Action"][0], self.headers["amz-sdk-request"]))
        status, text = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_said: object) -> None:
        """Log nothing, to keep the output of the tests short."""


@pytest.fixture
def ec2(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ec2]:
    """Run a server in place of EC2 that throttles the first two requests. All modules use it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with Ec2(THROTTLED, THROTTLED, NO_OFFERS) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        # This setting of botocore allows only one attempt. The setting in the modules must have priority.
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_throttled_call_is_made_again(ec2: Ec2, run_module: RunModule) -> None:
    report = run_module("instance_type_info", region="us-east-1", instance_type="c6g.medium")
    assert report["msg"].startswith("trading_instance_type: c6g.medium is not offered in us-east-1"), report
    assert [action for action, _attempt in ec2.asked] == ["DescribeInstanceTypeOfferings"] * 3
    most = aws.RETRIES["total_max_attempts"]
    assert [attempt.partition("attempt=")[2] for _action, attempt in ec2.asked] == [
        f"{number}; max={most}" for number in (1, 2, 3)
    ]


@pytest.mark.parametrize("path", sorted(MODULES.glob("*.py")), ids=lambda path: path.stem)
def test_every_client_comes_from_the_place_that_retries(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "module.client(" not in text
    assert "boto3.client(" not in text
