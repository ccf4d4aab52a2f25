"""Errors of AWS that tests inject, such as throttling, missing capacity, a reached quota or a missing permission."""

import io
import json
import threading
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# AWS answers these errors with status 503, which clients retry. Every other error gets status 400.
THROTTLING = frozenset({"RequestLimitExceeded", "Throttling", "ThrottlingException", "Unavailable"})


@dataclass
class Fault:
    """An error that AWS's API shall return for the next `times` calls of one action."""

    action: str
    code: str
    message: str
    times: int

    @property
    def status(self) -> HTTPStatus:
        return HTTPStatus.SERVICE_UNAVAILABLE if self.code in THROTTLING else HTTPStatus.BAD_REQUEST


@dataclass(frozen=True)
class Answer:
    """An HTTP answer with an error, in the protocol of the request."""

    status: HTTPStatus
    content_type: str
    body: bytes


class Faults:
    """The errors that wait to be returned. Any thread may add errors and use them up."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def replace(self, document: bytes) -> None:
        """Replace all earlier faults by those in a JSON document: a list of {action, code, message?, times?}.

        If the document is wrong, raises ValueError with the reason and changes nothing.
        """
        entries = json.loads(document)
        if not isinstance(entries, list):
            raise ValueError("not a list of faults")
        faults = [_fault(entry) for entry in entries]
        with self._lock:
            self._faults = faults

    def answer(self, environ: "WSGIEnvironment") -> Answer | None:
        """Return the injected error for this request, or None when moto shall answer the request.

        The request's body stays readable.
        """
        if not self._faults:
            return None
        action, is_json = _action_of(environ)
        with self._lock:
            fault = next((fault for fault in self._faults if fault.action == action), None)
            if fault is None:
                return None
            fault.times -= 1
            if not fault.times:
                self._faults.remove(fault)
        return _json_answer(fault) if is_json else _xml_answer(fault, environ)


def _fault(entry: Any) -> Fault:
    try:
        fault = Fault(entry["action"], entry["code"], entry.get("message", entry["code"]), int(entry.get("times", 1)))
    except (TypeError, KeyError, AttributeError):
        raise ValueError(f"{json.dumps(entry)} is not a fault: it needs action and code") from None
    if fault.times < 1:
        raise ValueError(f"times is {fault.times}: a fault happens at least once")
    return fault


def _action_of(environ: "WSGIEnvironment") -> tuple[str, bool]:
    """Return the action that a request calls, and whether the request is JSON with the action in a header.

    Any other request is a query with the action in its body.
    """
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        return target.rpartition(".")[2], True
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return parse_qs(body.decode(errors="replace")).get("Action", [""])[0], False


def _json_answer(fault: Fault) -> Answer:
    document = {"__type": fault.code, "message": fault.message}
    return Answer(fault.status, "application/x-amz-json-1.1", json.dumps(document).encode())


def _xml_answer(fault: Fault, environ: "WSGIEnvironment") -> Answer:
    error = f"<Code>{escape(fault.code)}</Code><Message>{escape(fault.message)}</Message>"
    if "/ec2/aws4_request" in environ.get("HTTP_AUTHORIZATION", ""):
        body = f"<Response><Errors><Error>{error}</Error></Errors><RequestID>fault</RequestID></Response>"
    else:
        body = f"<ErrorResponse><Error><Type>Sender</Type>{error}</Error><RequestId>fault</RequestId></ErrorResponse>"
    return Answer(fault.status, "text/xml", body.encode())
