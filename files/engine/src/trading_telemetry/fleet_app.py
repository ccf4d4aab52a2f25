"""The HTTP routes of `trading-telemetry fleet`, the page of many hosts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trading_telemetry.access import Access
from trading_telemetry.fleet import Fleet
from trading_telemetry.fleet_config import FleetConfig
from trading_telemetry.web import error_answer, page

COOKIE = "trading-telemetry-fleet"
INFORMATION = {"service": "trading-telemetry fleet", "links": {"fleet": "/fleet"}}


def make_fleet_app(config: FleetConfig) -> Starlette:
    """Return the web application for this configuration.

    Raises ConfigError for a wrong token or certificate file.
    """
    hosts = Fleet(config)
    token = config.read_token()

    async def fleet(_request: Request) -> Response:
        return JSONResponse(hosts.document())

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        reading = asyncio.create_task(hosts.keep_reading())
        yield
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading

    return Starlette(
        routes=[*page("fleet.html", INFORMATION), Route("/fleet", fleet)],
        middleware=[Middleware(Access, token=token, tls=config.certificate_path is not None, cookie=COOKIE)],
        exception_handlers={HTTPException: error_answer},
        lifespan=lifespan,
    )
