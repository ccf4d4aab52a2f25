from __future__ import annotations

import importlib
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.ethtool import (
    Ethtool,
    parse_coalesce,
    parse_ring,
)

from .conftest import RunModule
from .host_tree import HostTree, full_disk

nic_settings = importlib.import_module("ansible_collections.lowlatency.trading.plugins.modules.nic_settings")

RULES = "/etc/udev/rules.d/95-os-tuning.rules"

# Output with the layout of ethtool 6.1 (netlink/coalesce.c and netlink/rings.c). The values are invented.
WANTED = {"adaptive-rx": "off", "rx-usecs": "0", "tx-usecs": "0"}
COALESCE = """Coalesce parameters for ens5:
Adaptive RX: on  TX: n/a
stats-block-usecs: n/a
sample-interval: n/a

rx-usecs: 20
rx-frames: n/a

tx-usecs: 64
tx-frames: n/a

CQE mode RX: n/a  TX: n/a

"""
RING = """Ring parameters for ens5:
Pre-set maximums:
RX:             8192
RX Mini:        n/a
RX Jumbo:       n/a
TX:             1024
Current hardware settings:
RX:             1024
RX Mini:        n/a
RX Jumbo:       n/a
TX:             1024
RX Buf Len:     n/a
"""

# Output of ethtool 6.1 in Debian 12 for a virtio-net card. Most lines with n/a are left out.
VIRTIO_COALESCE = """Coalesce parameters for eth0:
Adaptive RX: off  TX: n/a
stats-block-usecs: n/a

rx-usecs: 0
rx-frames: 1
rx-usecs-irq: n/a

tx-usecs: 0
tx-frames: 1

CQE mode RX: n/a  TX: n/a

"""
VIRTIO_RING = """Ring parameters for eth0:
Pre-set maximums:
RX:\t\t256
RX Mini:\tn/a
TX:\t\t256
Current hardware settings:
RX:\t\t256
RX Mini:\tn/a
TX:\t\t256
RX Buf Len:\t\tn/a
TX Push:\toff
TCP data split:\tn/a
"""

# A fake ethtool. It has the settings of a card in files, and prints them as ethtool does.
ETHTOOL = """#!/bin/sh
cd "$(dirname "$0")/card" || exit 1
case "$1" in
  -c) sed "s/^Adaptive RX: on/Adaptive RX: $(cat adaptive-rx)/; s/^rx-usecs: .*/rx-usecs: $(cat rx-usecs)/; \
      s/^tx-usecs: .*/tx-usecs: $(cat tx-usecs)/" coalesce ;;
  -g) awk -v size="$(cat rx)" '/^Current/ {now = 1} now && /^RX:/ {print "RX:\t\t" size; next} {print}' ring ;;
  -P) cat permanent ;;
  -C | -G) [ ! -e "refuse-$3" ] || { echo "netlink error: Operation not supported" >&2; exit 76; }
      echo "$4" > "$3" ;;
esac
"""


def command(argv: list[str]) -> tuple[int, str, str]:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def host(tmp_path: Path) -> HostTree:
    tree = HostTree(tmp_path / "a host", cpus="0-1")
    tree.put("/sys/class/net/ens5/device/numa_node", "-1")
    tree.put("/sys/class/net/ens5/address", "02:11:22:33:44:55")
    for name, text in {"coalesce": COALESCE, "ring": RING}.items():
        tree.put(f"/card/{name}", text)
    for name, value in {"adaptive-rx": "on", "rx-usecs": "20", "tx-usecs": "64", "rx": "1024"}.items():
        tree.put(f"/card/{name}", value)
    tree.put("/ethtool", ETHTOOL).chmod(0o755)
    return tree


@pytest.mark.parametrize(
    ("said", "known_by"),
    [
        ("Permanent address: 06:aa:bb:cc:dd:ee", "06:aa:bb:cc:dd:ee"),
        ("Permanent address: not set", "02:11:22:33:44:55"),
        ("Permanent address: 00:00:00:00:00:00", "02:11:22:33:44:55"),
    ],
)
def test_a_card_in_a_bond_is_known_by_the_address_that_it_appears_with(
    host: HostTree, said: str, known_by: str
) -> None:
    host.put("/card/permanent", said)
    converge(host)
    assert f'ATTR{{address}}=="{known_by}"' in host.text(RULES)


def converge(host: HostTree, present: bool = True, check: bool = False, program: str = "ethtool") -> Any:
    tool = Ethtool(command, str(host.place(f"/{program}")) if program else "")
    return nic_settings.run(host.root, tool, 2, WANTED if present else None, check)


def statuses(result: Any) -> dict[str, str]:
    return {knob["name"]: knob["status"] for knob in result["knobs"]}


def test_what_ethtool_prints_is_read_without_what_it_calls_not_available() -> None:
    assert parse_coalesce(COALESCE) == {"adaptive-rx": "on", "rx-usecs": "20", "tx-usecs": "64"}
    assert parse_ring(RING) == ({"rx": "8192", "tx": "1024"}, {"rx": "1024", "tx": "1024"})


def test_what_a_virtio_card_prints_is_read() -> None:
    values = parse_coalesce(VIRTIO_COALESCE)
    assert (values["adaptive-rx"], values["rx-usecs"], values["tx-usecs"]) == ("off", "0", "0")
    assert parse_ring(VIRTIO_RING) == ({"rx": "256", "tx": "256"}, {"rx": "256", "tx": "256"})


def test_a_card_delivers_at_once_and_again_at_boot(host: HostTree) -> None:
    result = converge(host)
    assert set(statuses(result).values()) == {"applied"}
    assert [host.text(f"/card/{name}") for name in ("adaptive-rx", "rx-usecs", "tx-usecs", "rx")] == [
        "off",
        "0",
        "0",
        "8192",
    ]
    rule = host.text(RULES).splitlines()[-1]
    assert rule.startswith('ACTION=="add", SUBSYSTEM=="net", DRIVERS=="?*", ATTR{address}=="02:11:22:33:44:55"')
    assert "-C $name adaptive-rx off rx-usecs 0 tx-usecs 0" in rule
    assert "-G $name rx 8192" in rule
    assert not converge(host)["changed"]


def test_check_mode_changes_nothing(host: HostTree) -> None:
    before = host.snapshot()
    assert converge(host, check=True)["changed"]
    assert host.snapshot() == before


def test_absent_restores_the_card_and_removes_the_rule(host: HostTree) -> None:
    before = host.snapshot()
    converge(host)
    assert set(statuses(converge(host, present=False)).values()) == {"restored"}
    assert host.snapshot() == before
    assert not converge(host, present=False)["changed"]


def test_a_setting_the_driver_refuses_or_lacks_is_said_and_the_others_are_set(host: HostTree) -> None:
    host.put("/card/refuse-rx-usecs", "")
    host.put("/card/coalesce", COALESCE.replace("tx-usecs: 64", "tx-usecs-x: n/a"))
    result = converge(host)
    assert statuses(result) == {
        "ens5/coalesce/adaptive-rx": "applied",
        "ens5/coalesce/rx-usecs": "refused",
        "ens5/coalesce/tx-usecs": "not_applicable",
        "ens5/ring/rx": "applied",
    }
    reasons = {knob["name"]: knob["reason"] for knob in result["knobs"]}
    assert reasons["ens5/coalesce/rx-usecs"] == "netlink error: Operation not supported"
    assert "rx-usecs" not in host.text(RULES)
    assert not converge(host)["changed"]


def test_one_cpu_keeps_its_moderation(host: HostTree) -> None:
    host.put("/sys/devices/system/cpu/online", "0")
    result = converge(host)
    assert statuses(result) == {"nic_settings": "not_applicable"}
    assert not result["changed"]


def test_a_host_without_cards_or_without_ethtool_says_so(host: HostTree, tmp_path: Path) -> None:
    assert converge(host, program="")["knobs"][0]["reason"] == "ethtool is not installed"
    bare = HostTree(tmp_path / "bare", cpus="0-1")
    assert converge(bare)["knobs"][0]["reason"] == "this host has no network card of its own"


@pytest.fixture
def whole(host: HostTree, monkeypatch: pytest.MonkeyPatch) -> HostTree:
    """Let the module's `main` function use this fake host. It finds no program except ethtool."""
    host.stand_in(monkeypatch, nic_settings)

    def which(name: str, path: str) -> str | None:
        return shutil.which(name, path=str(host.root))

    monkeypatch.setattr(nic_settings, "shutil", SimpleNamespace(which=which))
    return host


def test_the_module_sets_and_restores_as_its_parameters_say(whole: HostTree, run_module: RunModule) -> None:
    before = whole.snapshot()
    assert run_module("nic_settings", coalesce=WANTED, check=True)["changed"] is True
    assert (
        run_module("nic_settings", coalesce=WANTED, min_cpus=3)["knobs"][0]["reason"] == "needs 3 CPUs, this host has 2"
    )
    assert whole.snapshot() == before
    assert set(statuses(run_module("nic_settings", coalesce=WANTED)).values()) == {"applied"}
    assert whole.text("/card/rx") == "8192"
    whole.put("/card/rx", "4096")  # another program's setting
    assert statuses(run_module("nic_settings", state="absent"))["ens5/ring/rx"] == "kept"
    assert run_module("nic_settings", state="absent", force=True)["changed"] is True
    assert whole.snapshot() == before


def test_the_module_says_in_one_line_what_it_cannot_write(whole: HostTree, run_module: RunModule) -> None:
    before = whole.snapshot()
    with full_disk():
        report = run_module("nic_settings", coalesce=WANTED)
    assert report["failed"] is True
    assert re.search(r"nic_settings\.json: cannot be written \(File too large\)$", report["msg"])
    assert whole.snapshot() == before
