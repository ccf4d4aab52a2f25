"""Prints one line for each part of the tests that ends.

A terminal also shows, in its last line, which parts run now.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

_COLOURS = {"ok": "32", "FAILED": "31;1", "stopped": "33"}
EACH_S = 1.0


class Screen:
    """Prints lines. Many threads can use the same screen.

    At a terminal, the screen also shows a last line. Until it is closed, it prints the last line again each second. The
    function `running` returns the text of this line.
    """

    def __init__(self, running: Callable[[], str]) -> None:
        self._running = running
        self._terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)
        if self._terminal:
            self._thread.start()

    def line(self, text: str = "") -> None:
        with self._lock:
            self._print(text + "\n")

    def part(self, verdict: str, name: str, took_s: float, cpu_s: float, said: str) -> None:
        """Print the line about a part that has ended.

        `cpu_s` is the CPU time of the part and its child processes. The CPU time of the sandbox's machines is not
        included.
        """
        shown = f"\033[{_COLOURS[verdict]}m{verdict:<7}\033[m" if self._terminal else f"{verdict:<7}"
        self.line(f"{shown}  {name:<22} {took_s:5.0f} s {cpu_s:5.0f} s CPU  {said}".rstrip())

    def begins(self, name: str) -> None:
        """Print that the part begins. At a terminal, print nothing, because the last line shows the part."""
        if not self._terminal:
            self.line(f"         {name} begins")

    def close(self) -> None:
        self._closed.set()
        if self._terminal:
            self._thread.join()
            self._print("")

    def _renew(self) -> None:
        while not self._closed.wait(EACH_S):
            with self._lock:
                width = os.get_terminal_size(sys.stdout.fileno()).columns
                self._print(self._running()[: width - 1])

    def _print(self, text: str) -> None:
        sys.stdout.write(("\r\033[K" if self._terminal else "") + text)
        sys.stdout.flush()
