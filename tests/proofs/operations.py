"""Runs the disaster drill with a journal of a million orders: a host is lost, and a host in another zone replaces it.

Then the proof changes an object in the bucket, and changes all checksums so that they fit. A restore must refuse the
changed object and name it.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3
from trading_backup import names
from trading_engine.machine.core import Core
from trading_engine.storage import snapshot

from tests.e2e.deployment import Deployment, addresses
from tests.proofs.evidence import ROOT, Evidence

_SOURCES = [
    ROOT / name
    for name in (
        "roles",
        "playbooks",
        "plugins",
        "files/engine/src/trading_backup",
        "files/engine/src/trading_engine",
    )
]
_SHIPPED_WITHIN_S = 120.0
_RATE = 12_000
_LISTED = 10  # so many lost orders are in this record; the drill's own record lists all
_BENCH = ["sudo", "/opt/trading/current/bin/trading-bench", "--host", "127.0.0.1", "--account", "BENCH"]
_TEST_ACCOUNT = ["--password-file", "/etc/trading/secrets/BENCH.password", "--symbol", "TEST"]


def client(deployment: Deployment) -> Any:
    """Return a boto3 client of S3 that may read and change the environment's bucket."""
    keys = {name.lower(): deployment.environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    return boto3.client("s3", region_name="us-east-1", endpoint_url=deployment.environment["AWS_ENDPOINT_URL"], **keys)


def newest_snapshot(s3: Any, bucket: str, instance: str) -> str:
    """Wait until an instance has sent its whole state to the bucket. Return the key of its newest snapshot."""
    end_s = time.monotonic() + _SHIPPED_WITHIN_S
    while True:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="hosts/")
        keys = [one["Key"] for page in pages for one in page.get("Contents", []) if f"{instance}/" in one["Key"]]
        if any(key.endswith(f"/{names.COMPLETE}") for key in keys):
            return str(max(key for key in keys if "/snapshot/" in key))
        assert time.monotonic() < end_s, f"{instance} has not shipped its state"
        time.sleep(1)


def changed_state(deployment: Deployment, folder: Path) -> dict[str, Any]:
    """Change the new host's state in the bucket, and all checksums of it. Then try a restore, which must fail.

    Return two texts: the restore's error message as `said`, and afterwards the state of the engine's unit as `engine`.
    """
    s3 = client(deployment)
    (bucket,) = (one["Name"] for one in s3.list_buckets()["Buckets"] if one["Name"].startswith("trading-sandbox-"))
    key = newest_snapshot(s3, bucket, deployment.host()["instance_id"])
    segment = int(key.rpartition("/")[2].partition(".")[0])
    file = snapshot.path_of(folder, segment)
    file.write_bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    core = Core()
    head = snapshot.read(file, core)
    core.next_match += 1
    data = snapshot.write(folder, core, head).read_bytes()
    series = key.rpartition("/snapshot/")[0]
    s3.delete_object(Bucket=bucket, Key=key)
    changed = f"{series}/{names.of_snapshot(segment, hashlib.sha256(data).hexdigest())}"
    s3.put_object(Bucket=bucket, Key=changed, Body=data)
    confirmed = {"trading_engine_restore_confirm": "trading-sandbox-1", "trading_backup_dir": str(folder / "archives")}
    play = deployment.play("playbooks/restore.yml", **confirmed)
    said = " ".join(play.output.split())
    assert play.exit_code != 0, play.output[-6000:]
    assert "trading-sandbox-1 is as it was, with the engine running" in said, play.output[-6000:]
    refused = re.search(rf"{file.name} is not what the journal .*?wrong", said)
    assert refused, play.output[-6000:]
    active = deployment.ssh(deployment.host()["ansible_host"], "systemctl", "is-active", "trading-engine.service")
    return {"said": refused[0], "engine": active.stdout.strip()}


def prove(orders: int) -> Path:
    """Run the drill with this many orders. Write the record and return its path.

    Raises AssertionError when the drill loses an order that is older than the RPO. The RPO is the greatest age of an
    order that may be lost.
    """
    evidence = Evidence("operations", orders, _SOURCES)
    with tempfile.TemporaryDirectory(prefix="operations-") as name:
        networks = {**addresses(74), "trading_operator_cidr": "10.74.0.0/16"}  # covers both zones' subnets
        deployment = Deployment(Path(name), sandbox="operations", addresses=networks)
        try:
            deployment.down()  # an interrupted proof may have left a sandbox
            deployment.up()
            deployed = deployment.play("site.yml", slo_verify="never")
            assert deployed.exit_code == 0, deployed.output[-4000:]
            loaded = ["--rate", str(_RATE), "--warmup", "0", "--duration", str(orders / _RATE)]
            address = deployment.host()["ansible_host"]
            load = deployment.ssh(address, *_BENCH, *_TEST_ACCOUNT, *loaded, limit_s=600)
            assert load.returncode == 0, load.stderr
            kept = Path(name) / "drill.json"
            confirmed = {"drill_confirm": "sandbox", "drill_record_file": str(kept)}
            drill = deployment.play("playbooks/drill.yml", slo_verify="never", **confirmed)
            assert drill.exit_code == 0, drill.output[-6000:]
            record = json.loads(kept.read_text(encoding="utf-8"))
            record["lost_orders"] = record["lost_orders"][:_LISTED]
            assert "of the controller, which the lost host ran" in drill.output, drill.output[-6000:]
            assert "implies the same" in record["state"], record["state"]
            changed = changed_state(deployment, Path(name))
        finally:
            deployment.down()
    return evidence.finish({"journaled_orders": orders, "drill": record, "changed_state": changed})
