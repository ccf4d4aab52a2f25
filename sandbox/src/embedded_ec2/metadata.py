"""The instance metadata service at 169.254.169.254. It identifies a machine by the source address of its request.

The service has version 2, as the EC2 user guide documents it ("Use the Instance Metadata Service to access instance
metadata"). A client gets a session token with PUT and sends it with every GET. Without a token the answer is 401,
unless the instance was launched with `HttpTokens: optional`.
"""

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from moto.ec2.models.instances import Instance
from moto.sts.models import sts_backends
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from embedded_ec2.instances import decode_user_data, moto_instances

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

TOKEN_LIFE_LIMIT_SECONDS = 21600
CREDENTIALS_LIFE = timedelta(hours=6)
RENEW_BEFORE_END = timedelta(minutes=30)
INTERRUPTION_TAG = "embedded-ec2:interruption"
INTERRUPTION_NOTICE = timedelta(minutes=2)

Tree = dict[str, "Tree | str | Callable[[], str]"]


@dataclass(frozen=True)
class Credentials:
    """Temporary credentials of an instance's role as a JSON document, and the time of their expiry."""

    document: str
    ends: datetime


class MetadataService:
    """A WSGI application that answers each machine with its own metadata."""

    def __init__(self) -> None:
        self._tokens: dict[str, tuple[str, float]] = {}
        self._credentials: dict[tuple[str, str], Credentials] = {}
        self._interruptions: dict[str, str] = {}
        self._lock = threading.Lock()

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        return self._answer(Request(environ))(environ, start_response)

    def _answer(self, request: Request) -> Response:
        instance = _instance_at(request.remote_addr)
        if instance is None or instance.metadata_options.http_endpoint != "enabled":
            return Response(status=403)
        if request.path == "/latest/api/token":
            return self._new_token(request, instance)
        if request.method not in ("GET", "HEAD"):
            return Response(status=405)
        token = request.headers.get("X-aws-ec2-metadata-token")
        if token is None and instance.metadata_options.http_tokens == "optional":
            pass
        elif token is None or not self._is_valid(token, instance.id):
            return Response(status=401)
        found = _find(self._tree(instance), request.path)
        return Response(status=404) if found is None else Response(found, content_type="text/plain")

    def _new_token(self, request: Request, instance: Instance) -> Response:
        if request.method != "PUT":
            return Response(status=405)
        # AWS gives no token to a request that came through a proxy.
        if "X-Forwarded-For" in request.headers:
            return Response(status=403)
        life_header = "X-aws-ec2-metadata-token-ttl-seconds"
        try:
            life_seconds = int(request.headers[life_header])
        except (KeyError, ValueError):
            return Response(status=400)
        if not 1 <= life_seconds <= TOKEN_LIFE_LIMIT_SECONDS:
            return Response(status=400)
        token = secrets.token_urlsafe(42)
        now = time.monotonic()
        with self._lock:
            self._tokens = {t: entry for t, entry in self._tokens.items() if entry[1] > now}
            self._tokens[token] = (instance.id, now + life_seconds)
        return Response(token, headers={life_header: str(life_seconds)}, content_type="text/plain")

    def _is_valid(self, token: str, instance_id: str) -> bool:
        owner, ends = self._tokens.get(token, ("", 0.0))
        return owner == instance_id and ends > time.monotonic()

    def _tree(self, instance: Instance) -> Tree:
        meta_data = _meta_data(instance)
        role = _role_of(instance)
        if role:
            profile_arn, role_name, role_arn = role
            info = {"Code": "Success", "LastUpdated": _stamp(_now()), "InstanceProfileArn": profile_arn}
            meta_data["iam"] = {
                "info": json.dumps(info),
                "security-credentials": {role_name: lambda: self._credentials_of(instance, role_arn)},
            }
        action = {tag["key"]: tag["value"] for tag in instance.get_tags()}.get(INTERRUPTION_TAG)
        if action:
            time_of_it = self._interruptions.setdefault(instance.id, _stamp(_now() + INTERRUPTION_NOTICE))
            meta_data["spot"] = {"instance-action": json.dumps({"action": action, "time": time_of_it})}
        else:
            self._interruptions.pop(instance.id, None)
        latest: Tree = {
            "meta-data": meta_data,
            "dynamic": {"instance-identity": {"document": json.dumps(_identity_document(instance), indent=2)}},
        }
        user_data = decode_user_data(instance.user_data)
        if user_data:
            latest["user-data"] = user_data.decode(errors="replace")
        return {"latest": latest}

    def _credentials_of(self, instance: Instance, role_arn: str) -> str:
        """Return a JSON document with credentials. The API treats their user as the instance's role.

        The same credentials are returned until shortly before they expire.
        """
        with self._lock:
            held = self._credentials.get((instance.id, role_arn))
            if held is None or held.ends - _now() < RENEW_BEFORE_END:
                held = self._credentials[instance.id, role_arn] = _assume(instance, role_arn)
            return held.document


def _assume(instance: Instance, role_arn: str) -> Credentials:
    role = sts_backends[instance.owner_id]["aws"].assume_role(
        region_name=instance.region_name,
        role_session_name=instance.id,
        role_arn=role_arn,
        policy="",
        duration=int(CREDENTIALS_LIFE.total_seconds()),
        external_id="",
    )
    ends = _now() + CREDENTIALS_LIFE
    document = {
        "Code": "Success",
        "LastUpdated": _stamp(_now()),
        "Type": "AWS-HMAC",
        "AccessKeyId": role.access_key_id,
        "SecretAccessKey": role.secret_access_key,
        "Token": role.session_token,
        "Expiration": _stamp(ends),
    }
    return Credentials(json.dumps(document), ends)


def _instance_at(address: str | None) -> Instance | None:
    for instance in moto_instances():
        if instance.is_running() and address == instance.private_ip:
            return instance
    return None


def _role_of(instance: Instance) -> tuple[str, str, str] | None:
    """Return (instance profile ARN, role name, role ARN) of the instance, or None when it has no role."""
    association = instance.ec2_backend.iam_instance_profile_associations.get(instance.id)
    if association is None:
        return None
    profile = association.iam_instance_profile
    return (profile.arn, profile.roles[0].name, profile.roles[0].arn) if profile.roles else None


def _meta_data(instance: Instance) -> Tree:
    nic = instance.nics[0]
    zone = instance.availability_zone or ""
    key = instance.ec2_backend.key_pairs.get(instance.key_name)
    groups = "\n".join(sorted(group.name for group in nic.group_set))
    subnet = nic.subnet
    interface: Tree = {
        "device-number": "0",
        "interface-id": nic.id,
        "local-ipv4s": str(nic.private_ip_address),
        "mac": nic.mac_address,
        "owner-id": instance.owner_id,
        "security-groups": groups,
        "subnet-id": subnet.id,
        "subnet-ipv4-cidr-block": subnet.cidr_block,
        "vpc-id": subnet.vpc_id,
    }
    tree: Tree = {
        "ami-id": instance.image_id,
        "ami-launch-index": str(instance.ami_launch_index),
        "hostname": instance.private_dns_name,
        "instance-id": instance.id,
        "instance-life-cycle": instance.lifecycle or "on-demand",
        "instance-type": instance.instance_type,
        "local-hostname": instance.private_dns_name,
        "local-ipv4": str(nic.private_ip_address),
        "mac": nic.mac_address,
        "network": {"interfaces": {"macs": {nic.mac_address: interface}}},
        "placement": {
            "availability-zone": zone,
            "availability-zone-id": subnet.availability_zone_id,
            "region": instance.region_name,
        },
        "reservation-id": _reservation_id(instance),
        "security-groups": groups,
        "services": {"domain": "amazonaws.com", "partition": "aws"},
    }
    if nic.public_ip:
        tree["public-ipv4"] = interface["public-ipv4s"] = nic.public_ip
        tree["public-hostname"] = instance.public_dns_name or ""
    if key:
        tree["public-keys"] = {"0": {"openssh-key": key.public_key}}
    lifecycle_state = _target_lifecycle_state(instance)
    if lifecycle_state:
        tree["autoscaling"] = {"target-lifecycle-state": lifecycle_state}
    if instance.metadata_options.instance_metadata_tags == "enabled":
        tree["tags"] = {"instance": {tag["key"]: tag["value"] for tag in instance.get_tags()}}
    return tree


def _target_lifecycle_state(instance: Instance) -> str:
    """Return the next lifecycle state of a group's instance: "InService" or "Terminated".

    Return an empty text for an instance that belongs to no group.
    """
    group: Any = getattr(instance, "autoscaling_group", None)
    states = [state.lifecycle_state for state in group.instance_states if state.instance is instance] if group else []
    return "Terminated" if states and states[0].startswith("Terminat") else "InService" if states else ""


def _reservation_id(instance: Instance) -> str:
    reservations = instance.ec2_backend.reservations.values()
    return next((r.id for r in reservations if instance in r.instances), "")


def _identity_document(instance: Instance) -> dict[str, Any]:
    return {
        "accountId": instance.owner_id,
        "architecture": instance.architecture,
        "availabilityZone": instance.availability_zone,
        "imageId": instance.image_id,
        "instanceId": instance.id,
        "instanceType": instance.instance_type,
        "pendingTime": _stamp(instance.launch_time.replace(tzinfo=UTC)),
        "privateIp": instance.private_ip,
        "region": instance.region_name,
        "version": "2017-09-30",
    }


def _find(tree: Tree, path: str) -> str | None:
    """Return the value at a path of the metadata.

    For a directory return the names in it, in AWS's form. For an unknown path return None.
    """
    node: Tree | str | Callable[[], str] = tree
    for part in filter(None, path.split("/")):
        if not isinstance(node, dict) or part not in node:
            return None
        node = node[part]
    if isinstance(node, dict):
        return "\n".join(name + "/" if isinstance(value, dict) else name for name, value in sorted(node.items()))
    return node if isinstance(node, str) else node()


def _now() -> datetime:
    return datetime.now(UTC)


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def make_metadata_server(host: str, port: int) -> BaseWSGIServer:
    class QuietHandler(WSGIRequestHandler):
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    return make_server(host, port, MetadataService(), threaded=True, request_handler=QuietHandler)
