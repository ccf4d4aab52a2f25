"""An engine that is killed loses no order that it has acknowledged."""

from __future__ import annotations

import threading

from tests.e2e.deployment import Deployment
from tests.e2e.order_client import OrderClient


def test_a_killed_engine_comes_back_with_every_acknowledged_order(deployed: Deployment) -> None:
    address = deployed.host()["ansible_host"]
    password = deployed.ssh(address, "sudo", "cat", "/etc/trading/secrets/BENCH.password")
    assert password.returncode == 0, password.stderr
    client = OrderClient(address, password.stdout.strip())

    load = threading.Thread(target=client.enter_until_cut_off, args=(60,))
    load.start()
    assert client.acknowledged.wait(30), "the engine acknowledged nothing"
    killed = deployed.ssh(address, "sudo", "systemctl", "kill", "--signal=KILL", "trading-engine.service")
    load.join(90)
    assert killed.returncode == 0, killed.stderr

    replayed = client.replayed()
    assert [token for token in client.accepted if replayed[token] != 1] == []
    canceled = client.cancel_all()
    assert [token for token in client.accepted if canceled[token] != 1] == [], "acknowledged, but not open any more"
