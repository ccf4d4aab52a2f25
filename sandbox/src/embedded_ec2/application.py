"""The sandbox's AWS API as a WSGI application: patched moto, and the requests that the sandbox itself answers."""

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from werkzeug.serving import BaseWSGIServer, make_server
from werkzeug.wrappers import Request, Response

from embedded_ec2 import free_tier
from embedded_ec2.faults import Faults
from embedded_ec2.hooks import Hooks

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

STATUS_PATH = "/_embedded_ec2/status"
FAULTS_PATH = "/_embedded_ec2/faults"


class Application:
    """The application that answers AWS requests with moto.

    After each request that may have changed an instance, it notifies the keeper, which keeps a machine for each
    instance.
    """

    def __init__(self, hooks: Hooks, status: Callable[[], list[dict[str, Any]]] = list) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        from embedded_ec2 import patches

        patches.install(hooks)
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._machines = hooks.machines
        self._status = status
        self._faults = Faults()

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["PATH_INFO"] == STATUS_PATH:
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(self._status()).encode()]
        if environ["PATH_INFO"] == FAULTS_PATH:
            return self._take_faults(environ)(environ, start_response)
        fault = self._faults.answer(environ)
        if fault:
            return Response(fault.body, fault.status, content_type=fault.content_type)(environ, start_response)
        plan = free_tier.answer(environ)
        if plan:
            return plan(environ, start_response)
        try:
            answer: Iterable[bytes] = self._moto(environ, start_response)
            return answer
        finally:
            if environ["REQUEST_METHOD"] == "POST":
                self._machines.look_again()

    def _take_faults(self, environ: "WSGIEnvironment") -> Response:
        request = Request(environ)
        if request.method != "PUT":
            return Response(status=405)
        try:
            self._faults.replace(request.get_data())
        except ValueError as error:
            return Response(f"{error}\n", 400)
        return Response(status=204)


def make_api_server(host: str, port: int, application: Application) -> BaseWSGIServer:
    """Return a server of the AWS API that listens on a port. Port 0 means any free port.

    werkzeug, the library that serves, raises SystemExit when the port is in use.
    """
    from moto.moto_server.werkzeug_app import MotoRequestHandler

    class QuietHandler(MotoRequestHandler):
        """The handler of requests. It keeps connections open between requests, and logs no requests."""

        protocol_version = "HTTP/1.1"

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    return make_server(host, port, application, threaded=True, request_handler=QuietHandler)
