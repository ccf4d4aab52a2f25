"""Access control: an ASGI middleware around the whole application.

It checks the access token, limits the requests of each address, and adds security headers for browsers.
"""

import hmac
import time
from pathlib import Path
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request, cookie_parser
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from trading_engine.settings.tables import ConfigError

COOKIE = "trading-telemetry"
OPEN_PATHS = frozenset({"/health", "/static/login.js"})
TOKEN_CHARACTERS = 16
LOGIN_LIMIT_BYTES = 4096
REQUESTS_PER_S = 50.0
BURST = 200.0
MAX_ADDRESSES = 4096
ADDRESS_CHARACTERS = 64  # an address from X-Forwarded-For may be any text of up to 16 KiB
SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
LOGIN_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    '<title>Telemetry</title><form method="post" action="/login"><label>Access token '
    '<input type="password" name="token" autocomplete="current-password" required autofocus></label> '
    '<button>Show</button></form><script src="/static/login.js"></script></html>'
)


def read_token(path: Path, table: str = "[access]") -> str:
    """Return the access token in the file `path`. `table` names the setting of this file in error messages.

    Raises ConfigError when the file cannot be read, or does not hold exactly one token. A token has at least
    TOKEN_CHARACTERS characters.
    """
    try:
        lines = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{table} token_file: cannot read {path}: {error}") from error
    if len(lines) != 1 or len(lines[0]) < TOKEN_CHARACTERS:
        raise ConfigError(f"{table} token_file: {path} must hold one token of at least {TOKEN_CHARACTERS} characters")
    return lines[0]


class Rates:
    """The limit on requests of each address: a token bucket of BURST requests that refills by REQUESTS_PER_S.

    At most MAX_ADDRESSES buckets are kept. When there would be more, the bucket that was unused for the longest time is
    deleted.
    """

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[float, float]] = {}

    def allows(self, address: str, now_s: float) -> bool:
        """Count a request of `address` and return whether it is within the limit. `now_s` is monotonic time."""
        address = address[:ADDRESS_CHARACTERS]
        left, seen_s = self._buckets.pop(address, (BURST, now_s))
        left = min(BURST, left + (now_s - seen_s) * REQUESTS_PER_S)
        self._buckets[address] = (max(left - 1, 0.0), now_s)
        if len(self._buckets) > MAX_ADDRESSES:
            del self._buckets[next(iter(self._buckets))]
        return left >= 1


class Access:
    """The ASGI middleware that controls access.

    If `token` is empty, every client that reaches the port may read everything.
    """

    def __init__(self, app: ASGIApp, token: str, tls: bool, cookie: str = COOKIE) -> None:
        """Wrap `app`. `cookie` is the name of the cookie that holds the token after a login.

        Two services on one host need different names, because browsers send a host's cookies to all its ports.
        """
        self._app = app
        self._token = token
        self._tls = tls
        self._cookie = cookie
        self._rates = Rates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = await self._gate(scope, receive)
        await (answer or self._app)(scope, receive, send_with_headers)

    async def _gate(self, scope: Scope, receive: Receive) -> Response | None:
        """Return the response to a login, or to a request without access.

        Return None if the request is allowed, so that `app` answers it.
        """
        address = (scope.get("client") or ("", 0))[0]
        if not self._rates.allows(address, time.monotonic()):
            return JSONResponse({"error": "too many requests"}, 429, headers={"retry-after": "1"})
        if not self._token or scope["path"] in OPEN_PATHS:
            return None
        headers = Headers(scope=scope)
        if scope["path"] == "/login" and scope["method"] == "POST":
            return await self._log_in(Request(scope, receive))
        if self._knows(self._presented(headers)):
            return None
        if "text/html" in headers.get("accept", ""):
            return HTMLResponse(LOGIN_PAGE, 401)
        challenge = {"www-authenticate": 'Bearer realm="telemetry"'}
        return JSONResponse({"error": "send the token: Authorization: Bearer …"}, 401, headers=challenge)

    async def _log_in(self, request: Request) -> Response:
        body = b""
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > LOGIN_LIMIT_BYTES:
                    return JSONResponse({"error": "too large"}, 413)
        except ClientDisconnect:
            return JSONResponse({"error": "not whole"}, 400)  # the client is gone and will not receive it
        token = parse_qs(body.decode("latin-1")).get("token", [""])[0]
        if not self._knows(token):
            return HTMLResponse(LOGIN_PAGE, 401)
        partition = request.query_params.get("partition")
        answer = RedirectResponse("/" if partition is None else f"/?{urlencode({'partition': partition})}", 303)
        answer.set_cookie(self._cookie, token, httponly=True, samesite="strict", secure=self._tls)
        return answer

    def _knows(self, presented: str) -> bool:
        return hmac.compare_digest(presented.encode("latin-1", "replace"), self._token.encode("ascii"))

    def _presented(self, headers: Headers) -> str:
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return credentials.strip()
        # http.cookies would drop our cookie if it could not parse the cookie of another application before it.
        return cookie_parser("; ".join(headers.getlist("cookie"))).get(self._cookie, "")
