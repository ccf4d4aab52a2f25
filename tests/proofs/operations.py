"""The whole disaster drill on a journal of a million orders: a host is lost, another one in another zone goes on."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from tests.e2e.deployment import Deployment, addresses
from tests.proofs.evidence import ROOT, Evidence

_SOURCES = [ROOT / name for name in ("roles/drill", "roles/aws_backup", "files/engine/src/trading_backup")]
_RATE = 12_000
_LISTED = 10  # of the lost orders, in the evidence; the drill's own record has all
_BENCH = ["sudo", "/opt/trading/current/bin/trading-bench", "--host", "127.0.0.1", "--account", "BENCH"]
_TEST_ACCOUNT = ["--password-file", "/etc/trading/secrets/BENCH.password", "--symbol", "TEST"]


def prove(orders: int) -> Path:
    """Return the record of a drill; raises AssertionError when an order is lost that is older than the promise."""
    evidence = Evidence("operations", orders, _SOURCES)
    with tempfile.TemporaryDirectory(prefix="operations-") as name:
        networks = {**addresses(74), "trading_operator_cidr": "10.74.0.0/16"}  # this machine in either zone's subnet
        deployment = Deployment(Path(name), sandbox="operations", addresses=networks)
        try:
            deployment.down()  # what a proof that was interrupted may have left
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
        finally:
            deployment.down()
    return evidence.finish({"journaled_orders": orders, "drill": record})
