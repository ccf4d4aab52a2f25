"""The static files of the web pages. They are read and compressed once, when telemetry starts.

They are the files in this package's directory `static`, and the chart library uPlot from its own Python package.
"""

import gzip
import hashlib
from dataclasses import dataclass
from importlib import metadata, resources

from starlette.requests import Request
from starlette.responses import Response

TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}
OURS = ("index.html", "fleet.html", "page.css", "page.js", "charts.js", "text.js", "fleet.js", "login.js", "icon.svg")
UPLOT_DISTRIBUTION = "uplot-python"
UPLOT = {"uplot.js": "uPlot.iife.js", "uplot.css": "uPlot.min.css"}


@dataclass(frozen=True)
class Asset:
    """A static file with its HTTP headers, uncompressed (`plain`) and compressed by gzip."""

    content_type: str
    plain: bytes
    compressed: bytes
    etag: str

    @classmethod
    def of(cls, name: str, content: bytes) -> "Asset":
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        return cls(TYPES[name.rsplit(".", 1)[1]], content, gzip.compress(content, 9, mtime=0), etag)

    def answer(self, request: Request) -> Response:
        """Return the response with this file, compressed if the client accepts that.

        If the client already has this version of the file, return the response 304.
        """
        headers = {
            "content-type": self.content_type,
            "etag": self.etag,
            "cache-control": "no-cache",
            "vary": "accept-encoding",
        }
        if request.headers.get("if-none-match") == self.etag:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(self.compressed, headers={**headers, "content-encoding": "gzip"})
        return Response(self.plain, headers=headers)


def load_assets() -> dict[str, Asset]:
    """Return a dictionary: name → static file. The name is the path below /static/."""
    folder = resources.files("trading_telemetry") / "static"
    contents = {name: (folder / name).read_bytes() for name in OURS}
    for name, file_name in UPLOT.items():
        contents[name] = _uplot(file_name)
    return {name: Asset.of(name, content) for name, content in contents.items()}


def _uplot(file_name: str) -> bytes:
    """Return the content of a file of the chart library uPlot, or b"" if its package is not installed.

    Without uPlot the page has tiles and tables, and says that it cannot draw charts. The file is found by the list of
    installed files. The package is never imported, so its dependencies are not needed.
    """
    try:
        files = metadata.files(UPLOT_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return b""
    return next((path.read_binary() for path in files if path.name == file_name), b"")
