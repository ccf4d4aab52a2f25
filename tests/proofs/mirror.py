"""Serves a folder over HTTP to the sandbox's machines. It is also their proxy for Debian's package servers.

The machines have no other way to the internet, as in a closed network.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

PASSED_ON = {"deb.debian.org", "security.debian.org"}
LIMIT_S = 60
IP_FREEBIND = 15  # from ip(7), because Python 3.11 has no constant for it


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # apt sends a request before it has read the previous answer

    def do_GET(self) -> None:
        if self.path.startswith("/"):
            super().do_GET()
        elif urlsplit(self.path).hostname not in PASSED_ON:
            self.send_error(403)
        else:
            self._pass_on()

    def _pass_on(self) -> None:
        as_it_is = {"Accept-Encoding": "identity"}
        answer = httpx.get(self.path, headers=as_it_is, timeout=LIMIT_S, follow_redirects=True)
        self.send_response(answer.status_code)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class _Server(ThreadingHTTPServer):
    """An HTTP server that can bind an address before the address exists.

    The address exists only while the subnet has a machine.
    """

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)
        super().server_bind()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a killed machine does not read the whole answer
            super().handle_error(request, client_address)


@contextmanager
def serving(folder: Path, address: str) -> Iterator[str]:
    """Run the server and yield its URL.

    The URL serves the files of `folder`. It is also the URL of the proxy.
    """
    with _Server((address, 0), partial(_Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://{address}:{server.server_port}"
        finally:
            server.shutdown()
