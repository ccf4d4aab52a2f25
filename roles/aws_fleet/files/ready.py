# Runs once on each host of a group, as its user data, with nothing but Python: attaches the journal volume of the
# partition, mounts it, and tells the group that the host is ready. templates/user-data.py.j2 gives it its SETTINGS.
from __future__ import annotations

import datetime
import hashlib
import hmac
import http.client
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

SETTINGS: dict[str, Any] = {}
DEVICE = "/dev/sdf"
MOUNT = "/var/lib/trading"
OPTIONS = "noatime,nofail,x-systemd.makefs,x-systemd.device-timeout=60s"
LOOK_EACH_S = 2
TRY_EACH_S = 5


class MissingVolumeError(Exception):
    """A further attempt does not help."""


def fetch(url: str, data: bytes | None = None, headers: dict[str, str] | None = None, method: str = "") -> str:
    """Return the answer's text. Raises RuntimeError with the service's error text, or OSError."""
    request = urllib.request.Request(url, data, headers or {}, method=method or None)  # noqa: S310  AWS
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{url.partition('?')[0]}: {error.code} {error.read().decode()[:500]}") from error
    except http.client.HTTPException as error:
        raise RuntimeError(f"{url.partition('?')[0]}: {error!r}") from error


class Metadata:
    """The instance metadata service, used with a session token."""

    def __init__(self, address: str) -> None:
        self._address = address
        head = {"X-aws-ec2-metadata-token-ttl-seconds": "21600"}
        self._head = {"X-aws-ec2-metadata-token": fetch(f"{address}/latest/api/token", headers=head, method="PUT")}

    def get(self, path: str) -> str:
        return fetch(f"{self._address}/latest/meta-data/{path}", headers=self._head)

    def credentials(self) -> dict[str, str]:
        """Return the credentials of the role, which change several times a day. A new host has none at first."""
        role = self.get("iam/security-credentials/").strip()
        found: dict[str, str] = json.loads(self.get(f"iam/security-credentials/{role}")) if role else {}
        if "Token" not in found:
            raise RuntimeError(f"the metadata service has no credentials: {found.get('Code', 'no role')}")
        return found


class Aws:
    """Calls of AWS's query protocol, signed (Signature Version 4)."""

    def __init__(self, region: str, metadata: Metadata, endpoint: str) -> None:
        self._region, self._metadata, self._endpoint = region, metadata, endpoint
        self._domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"

    def call(self, service: str, version: str, action: str, **asked: str) -> str:
        url = self._endpoint or f"https://{service}.{self._region}.{self._domain}"
        body = urllib.parse.urlencode({"Action": action, "Version": version, **asked}).encode()
        return fetch(f"{url}/", body, self._signed(service, urllib.parse.urlsplit(url).netloc, body))

    def _signed(self, service: str, host: str, body: bytes) -> dict[str, str]:
        keys = self._metadata.credentials()
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")  # noqa: UP017  Amazon Linux has 3.9
        kind = "application/x-www-form-urlencoded; charset=utf-8"
        head = {"content-type": kind, "host": host, "x-amz-date": now, "x-amz-security-token": keys["Token"]}
        names = ";".join(sorted(head))
        lines = "".join(f"{name}:{head[name]}\n" for name in sorted(head))
        request = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{now[:8]}/{self._region}/{service}/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = f"AWS4{keys['SecretAccessKey']}".encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        proof = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        credential = f"AWS4-HMAC-SHA256 Credential={keys['AccessKeyId']}/{scope}"
        return {**head, "authorization": f"{credential}, SignedHeaders={names}, Signature={proof}"}


def value(answer: str, name: str) -> str:
    """Return the text of the first element of this name, empty where there is none."""
    found = re.search(rf"<{name}>([^<]*)</{name}>", answer)
    return found[1] if found else ""


def attach(aws: Aws, settings: dict[str, Any], instance: str, zone: str) -> str:
    """Attach the partition's volume, once the previous host has released it, and return its id."""
    asked = {"tag:Name": settings["volume"], "tag:Environment": settings["environment"], "availability-zone": zone}
    filters = {}
    for number, (name, wanted) in enumerate(asked.items(), 1):
        filters[f"Filter.{number}.Name"] = name
        filters[f"Filter.{number}.Value.1"] = wanted
    while True:
        found = aws.call("ec2", "2016-11-15", "DescribeVolumes", **filters)
        volume = value(found, "volumeId")
        if not volume:
            raise MissingVolumeError(
                f"{zone} has no volume {settings['volume']}: run playbooks/fleet.yml, which makes it"
            )
        if value(found, "instanceId") == instance:
            return volume
        if "<attachmentSet/>" in found or not value(found, "instanceId"):
            aws.call("ec2", "2016-11-15", "AttachVolume", VolumeId=volume, InstanceId=instance, Device=DEVICE)
        else:
            print(f"{volume} is attached to {value(found, 'instanceId')} yet", flush=True)
        time.sleep(LOOK_EACH_S)


def mount(settings: dict[str, Any], volume: str) -> None:
    """Mount the volume as role trading_engine does; systemd makes a file system where there is none."""
    device = f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{volume.replace('-', '')}"
    line = f"{device} {MOUNT} ext4 {OPTIONS} 0 0\n"
    table = settings["root"] + "/etc/fstab"
    with open(table, encoding="utf-8") as file:
        others = [one for one in file if one.split()[1:2] != [MOUNT]]
    with open(f"{table}.new", "w", encoding="utf-8") as file:
        file.writelines([*others, line])
    os.replace(f"{table}.new", table)
    os.makedirs(settings["root"] + MOUNT, exist_ok=True)
    run(settings, "daemon-reload")
    run(settings, "start", "var-lib-trading.mount")


def start(settings: dict[str, Any]) -> None:
    """Start the image's services on the mounted journal, without waiting: an engine may replay for minutes.

    The health checks show whether the engine accepts orders. A host without a release waits for configure.yml.
    """
    for name in ("engine", "feed"):
        unit = f"trading-{name}@{settings['partition']}.service"
        if run(settings, "cat", unit, check=False) == 0:
            run(settings, "start", "--no-block", unit)


def run(settings: dict[str, Any], *arguments: str, check: bool = True) -> int:
    done = subprocess.run([settings["systemctl"], *arguments], stdout=subprocess.DEVNULL, check=check, timeout=120)
    return done.returncode


def main(settings: dict[str, Any]) -> None:
    """Try until the host is ready: AWS throttles calls, and knows a new host's role and a free volume some time later.

    After the hook's time the group terminates the host. Raises the last failure if the host is still there then.
    """
    end = time.monotonic() + settings["hook_seconds"]
    while True:
        try:
            return become_ready(settings)
        except (RuntimeError, OSError, ValueError, subprocess.SubprocessError) as failed:
            if time.monotonic() >= end:
                raise
            print(f"trading: not ready yet: {failed}", flush=True)
        time.sleep(TRY_EACH_S)


def become_ready(settings: dict[str, Any]) -> None:
    """Run all steps. Each of them may run again."""
    metadata = Metadata(settings["metadata"])
    instance, zone = metadata.get("instance-id"), metadata.get("placement/availability-zone")
    aws = Aws(settings["region"], metadata, settings["endpoint"])
    volume = attach(aws, settings, instance, zone)
    mount(settings, volume)
    start(settings)
    aws.call(
        "autoscaling",
        "2011-01-01",
        "CompleteLifecycleAction",
        AutoScalingGroupName=settings["group"],
        LifecycleHookName=settings["hook"],
        LifecycleActionResult="CONTINUE",
        InstanceId=instance,
    )
    print(f"{instance} has {volume} and is ready", flush=True)


if __name__ == "__main__":
    try:
        main(SETTINGS)
    except (MissingVolumeError, RuntimeError, OSError, ValueError, subprocess.SubprocessError) as failed:
        sys.exit(f"trading: this host is not ready: {failed}")
