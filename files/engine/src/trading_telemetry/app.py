"""The HTTP routes of a host's telemetry. The handlers only convert what the `Service` returns to HTTP responses."""

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from prometheus_client import exposition
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from trading_telemetry.access import Access
from trading_telemetry.config import Config
from trading_telemetry.health import Status
from trading_telemetry.history import KEPT_S
from trading_telemetry.openapi import SBOM_TYPE, describe
from trading_telemetry.service import Service
from trading_telemetry.stream import MAX_CLIENTS, EventStream
from trading_telemetry.web import error_answer, page

LINKS = {name: f"/{name}" for name in ("health", "latest", "history", "stream", "metrics", "api")}
INFORMATION = {"service": "trading-telemetry", "links": LINKS}
HISTORY_S = 600
_UNKNOWN_VERSIONS = re.compile(r";\s*version=(?!(?:0\.0\.[14]|[12]\.0\.0)\s*(?:[;,]|$))[^;,]*")


def make_app(config: Config) -> Starlette:
    """Return the web application for this configuration.

    Raises ConfigError when slo.toml, the token file or the certificate is wrong.
    """
    service = Service(config)
    token = config.read_token()
    description = describe(service.names)

    def asked(request: HTTPConnection) -> str | None:
        """Return the name of the partition in the request's query, or None if the query names no partition.

        Raises HTTPException 404 for an unknown partition.
        """
        name = request.query_params.get("partition")
        try:
            service.partition(name)
        except LookupError as error:
            raise HTTPException(404, str(error)) from error
        return name

    async def health(request: Request) -> Response:
        found = service.health(asked(request))
        return JSONResponse(found, 503 if found["status"] == Status.FAILING else 200)

    async def latest(request: Request) -> Response:
        return JSONResponse(service.latest(asked(request)))

    async def history(request: Request) -> Response:
        window = request.query_params.get("window", str(HISTORY_S))
        digits = window.lstrip("0")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= len(str(KEPT_S)) and int(digits) <= KEPT_S):
            raise HTTPException(422, f"window must be a whole number of seconds from 1 to {KEPT_S}")
        return JSONResponse(service.partition(asked(request)).history.columns(int(digits)))

    async def metrics(request: Request) -> Response:
        encode, content_type = exposition.choose_encoder(acceptable(request.headers.get("accept", "")))
        return Response(encode(service.registry), headers={"content-type": content_type})

    async def api(_request: Request) -> Response:
        return JSONResponse(description)

    async def sbom(_request: Request) -> Response:
        if not token:
            raise HTTPException(403, "versions are told to those with the token, and this service asks for none")
        # sys.prefix is the directory of the running release. Another release may have been installed since its start.
        path = Path(sys.prefix, "sbom.cdx.json")
        try:
            return Response(path.read_bytes(), headers={"content-type": SBOM_TYPE})
        except OSError as error:
            raise HTTPException(404, f"this release has no readable {path}: {error.strerror}") from error

    class Stream:
        """The handler of /stream. It is an object, not a function, so that Starlette passes the raw ASGI arguments."""

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            followed = service.partition(asked(HTTPConnection(scope)))
            if service.clients >= MAX_CLIENTS:
                raise HTTPException(503, f"{MAX_CLIENTS} streams are open", headers={"retry-after": "10"})
            await EventStream(followed.broadcast)(scope, receive, send)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        looking = [asyncio.create_task(each) for each in (service.keep_sampling(), service.keep_reading_what_is_slow())]
        yield
        for task in looking:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        service.close()

    return Starlette(
        routes=[
            *page("index.html", INFORMATION),
            Route("/health", health),
            Route("/latest", latest),
            Route("/history", history),
            Route("/stream", Stream(), methods=["GET"]),
            Route("/metrics", metrics),
            Route("/api", api),
            Route("/api/sbom", sbom),
        ],
        middleware=[Middleware(Access, token=token, tls=config.certificate_path is not None)],
        exception_handlers={HTTPException: error_answer},
        lifespan=lifespan,
    )


def acceptable(accept: str) -> str:
    """Return an Accept header that is safe for prometheus_client, made from the client's header `accept`.

    Quotes are removed, because they have no meaning there. Versions other than 0.0.1, 0.0.4, 1.0.0 and 2.0.0 are
    removed too. Otherwise prometheus_client would parse them as numbers and repeat them in the answer.
    """
    return _UNKNOWN_VERSIONS.sub("", accept.replace('"', ""))
