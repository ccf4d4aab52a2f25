"""The HTTP side: which path answers what. All state is in the `Service`; the handlers only render."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, exposition
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from trading_engine.notify import notify, watchdog_interval_ns

from trading_telemetry.config import Config, load_targets
from trading_telemetry.health import Status
from trading_telemetry.host import sample_host
from trading_telemetry.latest import Document, document, host_document
from trading_telemetry.observer import Observer
from trading_telemetry.page import render
from trading_telemetry.prometheus import EngineCollector

SAMPLE_S = 1.0
LINKS = {"health": "/health", "latest": "/latest", "metrics": "/metrics"}


class Service:
    """Owns the observer, the registry and the samples that both need."""

    def __init__(self, config: Config) -> None:
        self._targets = load_targets(config.slo_path)
        self._observer = Observer(config.state_path)
        self._hosts = [(time.monotonic(), sample_host())]
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(EngineCollector(self._observer, self._targets))
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)

    def latest(self) -> Document:
        now_s, host = time.monotonic(), sample_host()
        then_s, earlier = self._hosts[0]
        found = document(self._observer, self._observer.look(), self._targets)
        found["host"] = host_document(host, earlier, max(now_s - then_s, 0.01))
        return found

    async def keep_sampling(self) -> None:
        """Once a second until cancelled; also the heartbeat for systemd's watchdog."""
        watchdog = watchdog_interval_ns() > 0
        next_s = time.monotonic()
        while True:
            self._observer.sample()
            self._hosts = [*self._hosts[-1:], (time.monotonic(), sample_host())]
            if watchdog:
                notify("WATCHDOG=1")
            next_s = max(next_s + SAMPLE_S, time.monotonic())
            await asyncio.sleep(next_s - time.monotonic())

    def close(self) -> None:
        self._observer.close()


def make_app(config: Config) -> Starlette:
    """Raises ConfigError for a wrong slo.toml."""
    service = Service(config)

    async def index(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(render(service.latest()))
        return JSONResponse({"service": "trading-telemetry", "links": LINKS})

    async def health(_request: Request) -> Response:
        latest = service.latest()
        summary = {name: latest[name] for name in ("status", "age_s", "checks", "slo")}
        return JSONResponse(summary, 503 if latest["status"] == Status.FAILING else 200)

    async def latest(_request: Request) -> Response:
        return JSONResponse(service.latest())

    async def metrics(request: Request) -> Response:
        encode, content_type = exposition.choose_encoder(request.headers.get("accept", ""))
        return Response(encode(service.registry), headers={"content-type": content_type})

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        sampling = asyncio.create_task(service.keep_sampling())
        yield
        sampling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sampling
        service.close()

    routes = [
        Route("/", index, methods=["GET"]),
        Route("/health", health, methods=["GET"]),
        Route("/latest", latest, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _error})


async def _error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)
