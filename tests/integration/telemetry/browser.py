"""Controls headless Chromium with the DevTools protocol.

Messages are JSON that ends with a zero byte. They use the file descriptors 3 and 4.
"""

import base64
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
WAIT_S = 20.0
POLL_S = 0.1

NAVIGATED = "Inspected target navigated or closed"


class NavigatedError(AssertionError):
    """The page changed to another one while a command ran."""


class Browser:
    """One tab of the browser."""

    def __init__(self, user_data: Path) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        self._buffer = b""
        self._number = 0
        self.problems: list[str] = []

        def fixed_descriptors() -> None:
            os.dup2(os.dup(to_browser), 3)
            os.dup2(os.dup(from_browser), 4)

        self._process = subprocess.Popen(
            ["chromium", *FLAGS, f"--user-data-dir={user_data}"],
            preexec_fn=fixed_descriptors,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result.

        Errors that the page reports in the meantime are added to `problems`.
        """
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._write, json.dumps(command).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == self._number:
                if "error" in message:
                    kind = NavigatedError if message["error"]["message"] == NAVIGATED else AssertionError
                    raise kind(f"{method}: {message['error']}")
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def open(self, url: str, width: int, height: int, *, dark: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=url)

    def value(self, expression: str) -> Any:
        """Evaluate a JavaScript expression in the page and return its value.

        Raises AssertionError when the expression fails.
        """
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until a JavaScript expression is true. Raises AssertionError after WAIT_S seconds."""
        deadline_s = time.monotonic() + WAIT_S
        while not self._is_true(expression):
            assert time.monotonic() < deadline_s, f"never became true: {expression}"
            time.sleep(POLL_S)

    def _is_true(self, expression: str) -> bool:
        """Return whether an expression is true. While the page changes to another one, return False."""
        try:
            return bool(self.value(expression))
        except NavigatedError:
            return False

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Write a screenshot to the file `path`: of the whole page, or only of its visible part."""
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def close(self) -> None:
        self._session = ""
        self.call("Browser.close")
        self._process.wait(WAIT_S)
        os.close(self._read)
        os.close(self._write)

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            data = os.read(self._read, 1 << 16)
            assert data, "Chromium ended"
            self._buffer += data
        raw, self._buffer = self._buffer.split(b"\0", 1)
        message: dict[str, Any] = json.loads(raw)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        parameters = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.problems.append(str(parameters["exceptionDetails"]))
        if message.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.problems.append(parameters["entry"]["text"])
