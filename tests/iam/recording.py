"""Serves the emulated AWS API, and records the permissions that the calls of one user need.

Usage: python -m tests.iam.recording FILE. The file FILE.key has the access key of this user. Recording begins when
FILE.key exists. For each needed permission, the program adds a line of JSON to FILE. For each call, it adds a dot to
FILE.calls.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedded_ec2.application import Application, make_api_server
from embedded_ec2.hooks import Hooks
from moto.core.request import Request

from tests.iam.decode import decode
from tests.iam.needs import needs

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class EmulatedAccount:
    """The AWS account that moto keeps in memory. `needs.py` reads it."""

    number = "123456789012"

    def __init__(self, region: str) -> None:
        from moto.backends import get_backend

        self._ec2 = get_backend("ec2")[self.number][region]
        self._iam = get_backend("iam")[self.number]["aws"]

    def ec2_tags(self, identity: str) -> Mapping[str, str]:
        return {one["key"]: one["value"] for one in self._ec2.describe_tags({"resource-id": [identity]})}

    def identity(self, kind: str, name: str) -> str:
        # Moto knows no placement groups. The sandbox adds them.
        named = {"key-pair": self._ec2.key_pairs, "placement-group": vars(self._ec2).get("placement_groups", {})}
        found = named.get(kind, {}).get(name)
        return str(found.id) if found else name

    def ec2_parts(self, name: str) -> list[str]:
        found: list[Any] = [one.id for one in self._ec2.launch_templates.values() if one.name == name]
        for address in self._ec2.addresses:
            if name in (address.association_id, address.public_ip):
                found += [address.allocation_id, *([address.eni.id] if address.eni else [])]
        for table in self._ec2.route_tables.values():
            found += [
                part
                for one in table.associations
                if one["RouteTableAssociationId"] == name
                for part in (table.id, one.get("SubnetId"))
                if part
            ]
        for association in self._ec2.iam_instance_profile_associations.values():
            if association.association_id == name:
                found.append(association.instance_id)
        return found

    def iam_path(self, kind: str, name: str) -> str:
        known = self._iam.instance_profiles if kind == "instance-profile" else self._iam.roles
        found = [one for one in known.values() if one.name == name]
        return str(found[0].path) if found else "/"

    def template(self, identity: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._ec2.launch_templates[identity].latest_version().data
        return found

    def role_of(self, profile: str) -> str:
        (found,) = [one for one in self._iam.instance_profiles.values() if one.name == profile]
        return str(found.roles[0].arn)


class Recorder:
    """A WSGI application that passes every request to the API, and records the requests of the chosen user."""

    def __init__(self, application: Callable[..., Iterable[bytes]], file: Path) -> None:
        self._application = application
        self._file = file
        self._key_file = file.with_name(f"{file.name}.key")
        self._calls_file = file.with_name(f"{file.name}.calls")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        authorization = environ.get("HTTP_AUTHORIZATION", "")
        if self._key_file.exists() and f"Credential={self._key_file.read_text()}/" in authorization:
            self._write(environ)
        return self._application(environ, start_response)

    def _write(self, environ: WSGIEnvironment) -> None:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        headers = {"Authorization": environ["HTTP_AUTHORIZATION"], "X-Amz-Target": environ.get("HTTP_X_AMZ_TARGET", "")}
        path = Request(environ.copy()).raw_path.partition("?")[0]
        try:
            lines = self._lines(environ["REQUEST_METHOD"], path, environ["QUERY_STRING"], headers, body)
        except Exception as error:  # this line makes the test that reads the file fail
            lines = [
                {"action": "unreadable", "resource": f"{environ['REQUEST_METHOD']} {path}: {error!r}", "context": {}}
            ]
        with self._calls_file.open("a", encoding="utf-8") as file:
            file.write(".")
        with self._file.open("a", encoding="utf-8") as file:
            file.write("".join(f"{json.dumps(line)}\n" for line in lines))

    def _lines(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> list[dict[str, Any]]:
        call = decode(method, path, query, headers, body)
        assert call is not None
        return [
            {"action": need.action, "resource": need.resource, "context": dict(need.context)}
            for need in needs(call, EmulatedAccount(call.region))
        ]


def main() -> None:
    """Print the server's URL and serve until the process is terminated."""
    recorder: Any = Recorder(Application(Hooks()), Path(sys.argv[1]))
    server = make_api_server("127.0.0.1", 0, recorder)
    print(f"http://127.0.0.1:{server.port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
