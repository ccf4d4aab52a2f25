"""Functions that write the data for cloud-init at a machine's boot: identity, key and user data.

cloud-init reads them as its data source NoCloud.
"""

import json
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

ENDPOINT_FILE = "etc/systemd/system.conf.d/endpoint.conf"


@dataclass(frozen=True)
class Identity:
    """The data that a machine needs for its first boot."""

    instance_id: str
    private_address: IPv4Address
    public_key: str | None
    user_data: bytes
    login: str = ""
    # The API's URL for the machine's own services; empty when they get none.
    endpoint: str = ""

    @property
    def hostname(self) -> str:
        return f"ip-{str(self.private_address).replace('.', '-')}"


def plant(root: Path, identity: Identity) -> None:
    """Write the data for cloud-init into a machine's root directory.

    cloud-init does not repeat the first boot's steps when it knows the instance id.
    """
    directory = root / "var/lib/cloud/seed/nocloud"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / "meta-data").write_text(render_meta_data(identity))
    (directory / "user-data").write_bytes(identity.user_data or b"#cloud-config\n{}\n")
    if identity.endpoint:
        settings = root / ENDPOINT_FILE
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text(render_endpoint(identity))
    if identity.login:
        (root / "etc/cloud/cloud.cfg.d/90-login.cfg").write_text(render_login(identity))


def render_endpoint(identity: Identity) -> str:
    """Return the text of systemd's setting by which services and user data call the sandbox's API, not AWS."""
    return f"[Manager]\nDefaultEnvironment=AWS_ENDPOINT_URL={identity.endpoint}\n"


def render_login(identity: Identity) -> str:
    """Return cloud-init's setting for the image's login user, in addition to the machine's own user."""
    keys = [identity.public_key] if identity.public_key else []
    user = {"name": identity.login, "shell": "/bin/bash", "lock_passwd": True, "sudo": "ALL=(ALL) NOPASSWD:ALL"}
    return json.dumps({"users": ["default", {**user, "ssh_authorized_keys": keys}]}, indent=1) + "\n"


def render_meta_data(identity: Identity) -> str:
    """Return the text of the meta-data file as JSON, which is valid YAML."""
    keys = [identity.public_key] if identity.public_key else []
    facts = {"instance-id": identity.instance_id, "local-hostname": identity.hostname, "public-keys": keys}
    return json.dumps(facts, indent=1) + "\n"
