"""The routes and the error handler that two applications share: `app` (one host) and `fleet_app` (many hosts)."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trading_telemetry.assets import load_assets


def page(name: str, information: dict[str, Any]) -> list[Route]:
    """Return the routes of the page `name` and of its static files.

    A client that requests / and does not accept HTML gets `information` as JSON instead of the page.
    """
    assets = load_assets()

    async def index(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return assets[name].answer(request)
        return JSONResponse(information, headers={"vary": "accept"})

    async def static(request: Request) -> Response:
        asset = assets.get(request.path_params["name"])
        if asset is None:
            raise HTTPException(404)
        return asset.answer(request)

    return [Route("/", index), Route("/static/{name}", static)]


async def error_answer(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)
