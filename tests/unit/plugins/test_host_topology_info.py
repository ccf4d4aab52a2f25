from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.errors import TuningError

from .conftest import RunModule
from .host_tree import HostTree

host_topology_info = importlib.import_module(
    "ansible_collections.lowlatency.trading.plugins.modules.host_topology_info"
)


@pytest.fixture
def graviton(tmp_path: Path) -> HostTree:
    """Return a fake host with the kernel's files of an EC2 instance of the type c6g.medium.

    The content of the files follows the kernel's documentation and the EC2 user guide.
    """
    host = HostTree(tmp_path)
    host.put("/proc/cmdline", "BOOT_IMAGE=/boot/vmlinuz root=UUID=1 console=ttyS0")
    host.put("/sys/devices/system/cpu/isolated", "")
    host.put("/sys/devices/virtual/dmi/id/sys_vendor", "Amazon EC2")
    host.put("/sys/devices/virtual/dmi/id/product_name", "c6g.medium")
    host.put("/sys/class/net/ens5/device/numa_node", "-1")
    host.place("/sys/class/net/ens5/queues/rx-0").mkdir(parents=True)
    host.place("/sys/class/net/lo").mkdir()
    return host


def run(host: HostTree, engine_cpus: str = "") -> Any:
    return host_topology_info.observe(host.root, engine_cpus)


def test_a_c6g_medium_is_seen_as_it_is(graviton: HostTree) -> None:
    result = run(graviton)
    assert result["topology"]["ec2_type"] == "c6g.medium"
    assert result["topology"]["nics"] == [{"name": "ens5", "driver": "", "queues": 1, "numa_node": -1}]
    assert result["topology"]["governor"] == ""
    assert not result["topology"]["container"]
    assert result["layout"] == {
        "housekeeping": [0],
        "engine": [],
        "telemetry": [0],
        "isolated": [],
        "housekeeping_list": "0",
        "engine_list": "",
        "telemetry_list": "0",
        "isolated_list": "",
        "housekeeping_mask": "1",
    }


def test_an_interface_may_have_any_name(
    graviton: HostTree, monkeypatch: pytest.MonkeyPatch, run_module: RunModule
) -> None:
    graviton.put("/sys/class/net/et\udcfc0/device/numa_node", "0")
    graviton.place("/proc/cmdline").write_bytes(b"root=LABEL=\xfc")
    graviton.stand_in(monkeypatch, host_topology_info)
    topology = run_module("host_topology_info")["topology"]
    assert [nic["name"] for nic in topology["nics"]] == ["ens5", "et\\xfc0"]


def test_threads_of_a_core_and_numa_nodes_are_told_apart(tmp_path: Path) -> None:
    host = HostTree(tmp_path, cpus="0-3")
    for cpu, core in enumerate([0, 1, 0, 1]):
        host.put(f"/sys/devices/system/cpu/cpu{cpu}/topology/core_id", str(core))
    host.put("/sys/devices/system/node/node0/cpulist", "0,2")
    host.put("/sys/devices/system/node/node1/cpulist", "1,3")
    result = run(host)
    assert (result["topology"]["smt"], result["topology"]["numa_nodes"]) == (True, 2)
    assert result["layout"]["isolated"] == [1, 3]


def test_a_container_has_the_cpus_it_may_use(tmp_path: Path) -> None:
    host = HostTree(tmp_path, cpus="0-7")
    host.put("/proc/1/status", "Name:\tsystemd\nCpus_allowed:\t08\nCpus_allowed_list:\t3\nMems_allowed_list:\t0")
    result = run(host)
    assert result["topology"]["cpus"] == [3]
    assert result["layout"]["engine"] == []


def test_cpus_isolated_at_boot_belong_to_the_host_though_not_to_its_first_process(tmp_path: Path) -> None:
    host = HostTree(tmp_path, cpus="0-3")
    host.put("/proc/1/status", "Cpus_allowed_list:\t0-2")
    host.put("/sys/devices/system/cpu/isolated", "3")
    assert run(host)["layout"]["engine"] == [3]


def test_another_vendors_product_name_is_no_ec2_type(graviton: HostTree) -> None:
    graviton.put("/sys/devices/virtual/dmi/id/sys_vendor", "QEMU")
    assert run(graviton)["topology"]["ec2_type"] == ""


def test_a_tree_that_is_no_linux_host_is_named(tmp_path: Path) -> None:
    with pytest.raises(TuningError, match="cpu/online"):
        host_topology_info.observe(tmp_path, "")


def test_this_machine_can_be_read(run_module: Any) -> None:
    report = run_module("host_topology_info")
    assert report["topology"]["ram_kib"] > 0
    assert report["layout"]["housekeeping"]


def test_engine_cpus_out_of_range_are_an_error_of_one_line(run_module: Any) -> None:
    report = run_module("host_topology_info", engine_cpus="4096")
    assert report["failed"]
    assert "4096" in report["msg"]
    assert "\n" not in report["msg"]


def test_engines_of_partitions_that_nobody_names_any_more_are_refused_before_anything_changes(
    graviton: HostTree, monkeypatch: pytest.MonkeyPatch, run_module: RunModule
) -> None:
    graviton.stand_in(monkeypatch, host_topology_info)
    assert not run_module("host_topology_info", partitioned=False).get("failed")
    graviton.put("/etc/systemd/system/trading-engine@alpha.service", "[Unit]")
    report = run_module("host_topology_info", partitioned=False)
    assert report["msg"].startswith("this host has trading-engine@alpha.service, and trading_partitions is empty")
    assert not run_module("host_topology_info", partitioned=True).get("failed")
