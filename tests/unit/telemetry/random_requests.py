"""Makes random HTTP requests as bytes, with the package hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

METHODS = (b"GET", b"GET", b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"PATCH")
VERSIONS = (*[b"HTTP/1.1"] * 8, b"HTTP/1.0", b"HTTP/2.0")
PATHS = (b"/", b"/health", b"/latest", b"/history", b"/stream", b"/metrics", b"/api", b"/login", b"/static/page.js")
HEADERS = (
    b"Accept", b"Accept-Encoding", b"Authorization", b"Connection", b"Cookie", b"Expect", b"Host", b"If-None-Match",
    b"Range", b"Upgrade", b"X-Forwarded-For", b"X-Forwarded-Proto",
)  # fmt: skip
FRAMING = (b"Content-Length", b"Transfer-Encoding")
WORDS = (
    b"application/openmetrics-text", b"text/plain", b"text/html", b"version=", b"escaping=", b"1.0.0", b"q=", b"gzip",
    b"window=", b"trading-telemetry=", b"correct-horse-battery", b"Bearer ", b"bytes=", b"chunked", b"close",
    b"keep-alive", b"upgrade", b"websocket", b"h2c", b"100-continue", b"127.0.0.1", b"[::1]", b"https", b"0", b"3600",
    b"9" * 5000, b"-1", b'"', b";", b",", b"=", b"{", b" ", b"/", b"..", b"%", b"%00", b"%ff", b"\t", b"\xff",
)  # fmt: skip

# Most bytes are allowed in the head of a request. A head with other bytes is refused at once, which tests little.
_harmless = st.binary(max_size=3).map(lambda data: bytes(byte for byte in data if byte > 32 and byte != 127))
_words = st.one_of(st.sampled_from(WORDS), _harmless)
_texts = st.lists(_words, max_size=6).map(b"".join)
_headers = st.tuples(st.sampled_from((*HEADERS * 4, *FRAMING)), _texts)
_ascii = _texts.map(lambda text: bytes(byte for byte in text if byte < 127).replace(b" ", b"+"))
_paths = st.one_of(st.sampled_from(PATHS), st.sampled_from(PATHS), _ascii.map(b"/".__add__))
_queries = st.one_of(st.just(b""), _ascii.map(b"?".__add__), _ascii.map(b"?window=".__add__))


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Return a request in which any part and any byte can be wrong. Most of these requests are complete."""
    method, version = draw(st.sampled_from(METHODS)), draw(st.sampled_from(VERSIONS))
    head = method + b" " + draw(_paths) + draw(_queries) + b" " + version
    for name, value in draw(st.lists(_headers, max_size=4)):
        head += b"\r\n" + name + b": " + value
    body = draw(st.sampled_from((b"", b"", b"token=x", b"token=correct-horse-battery", b"3\r\nabc\r\n0\r\n\r\n")))
    request = head + b"\r\nContent-Length: %d" % len(body) * bool(body) + b"\r\n\r\n" + body
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(request) - 1))
        request = request[:at] + draw(st.binary(min_size=1, max_size=2)) + request[at + 1 :]
    return request
