"""Decodes an HTTP request to AWS.

The result has the service, the operation, and the parameters with the names that botocore uses.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from moto.core.parse import PROTOCOL_PARSERS
from moto.core.utils import get_service_model
from werkzeug.datastructures import CombinedMultiDict, MultiDict

# Services with one name in signatures and another in botocore. The key is the name in signatures.
_BY_SIGNATURE = {"elasticloadbalancing": "elbv2", "monitoring": "cloudwatch", "servicequotas": "service-quotas"}
_CREDENTIAL = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request")


@dataclass(frozen=True)
class Call:
    """A call of one operation of an AWS service. `key` is the id of the caller's access key."""

    key: str
    region: str
    service: str
    operation: str
    parameters: Mapping[str, Any]


def decode(method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Call | None:
    """Return the call in this request. Return None for a request without a signature.

    Raises LookupError for an unknown operation.
    """
    signed = _CREDENTIAL.search(headers.get("Authorization", ""))
    if not signed:
        return None
    key, region, signature = signed.groups()
    service = _BY_SIGNATURE.get(signature, signature)
    operation, parameters = _read(get_service_model(service), method, path, query, headers, body)
    return Call(key, region, service, operation, parameters)


def _read(
    model: Any, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
) -> tuple[str, dict[str, Any]]:
    target = headers.get("X-Amz-Target", "")
    if target:
        return target.rpartition(".")[2], json.loads(body or b"{}")
    if model.protocol in ("rest-xml", "rest-json"):
        return _read_rest(model, method, path, query, body)
    values = MultiDict(parse_qsl(body.decode(), keep_blank_values=True))
    operation = model.operation_model(values["Action"])
    parser = PROTOCOL_PARSERS["ec2" if model.protocol == "ec2" else "query"](operation)
    asked: Any = {"method": method, "values": CombinedMultiDict([values]), "headers": {}, "body": b"", "url_path": path}
    return operation.name, dict(parser.parse(asked))


def _read_rest(model: Any, method: str, path: str, query: str, body: bytes) -> tuple[str, dict[str, Any]]:
    given = dict(parse_qsl(query, keep_blank_values=True))
    # Several operations can fit. The right one matches most of the query: a GET of a bucket lists its objects, but a
    # GET with ?policy returns its policy. When several match equally, it is the one with the shorter name: ListBuckets,
    # not ListDirectoryBuckets.
    fits = sorted(
        (len(asked), -len(name), name, tuple(found.groupdict().items()))
        for name, (verb, pattern, asked) in _templates(model.service_name).items()
        if verb == method and asked <= set(given) and (found := pattern.fullmatch(path.rstrip("/") or "/")) is not None
    )
    if not fits:
        raise LookupError(f"{model.service_name}: no operation is {method} {path}?{query}")
    _, _, operation, labels = fits[-1]
    parameters: dict[str, Any] = {name: unquote(value) for name, value in labels}
    shape = model.operation_model(operation).input_shape
    for name, member in shape.members.items() if shape else ():
        if member.serialization.get("location") == "querystring" and member.serialization.get("name") in given:
            parameters[name] = given[member.serialization["name"]]
    if model.protocol == "rest-json" and body:
        parameters.update(json.loads(body))
    if operation == "DeleteObjects":
        parameters["Keys"] = re.findall(r"<Key>([^<]*)</Key>", body.decode())
        parameters["Versions"] = b"<VersionId>" in body
    return operation, parameters


@functools.cache
def _templates(service: str) -> dict[str, tuple[str, re.Pattern[str], frozenset[str]]]:
    model, found = get_service_model(service), {}
    for name in model.operation_names:
        operation = model.operation_model(name)
        if operation.deprecated:
            continue
        path, _, query = operation.http["requestUri"].partition("?")
        pattern = re.escape(path.rstrip("/") or "/")
        pattern = re.sub(r"\\\{(\w+)\\\+\\\}", r"(?P<\1>.+)", pattern)
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", pattern)
        shape = operation.input_shape
        asked = {word.partition("=")[0] for word in query.split("&") if word and not word.startswith("x-id")}
        asked |= {
            shape.members[member].serialization["name"]
            for member in (shape.required_members if shape else ())
            if shape.members[member].serialization.get("location") == "querystring"
        }
        found[name] = (operation.http["method"], re.compile(pattern), frozenset(asked))
    return found
