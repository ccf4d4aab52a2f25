from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.errors import TuningError

from .conftest import RunModule
from .host_tree import HostTree

irq_affinity = importlib.import_module("ansible_collections.lowlatency.trading.plugins.modules.irq_affinity")

BAN = "/etc/systemd/system/irqbalance.service.d/os-tuning.conf"
BANNED = "IRQBALANCE_BANNED_CPULIST=2-3\0IRQBALANCE_BANNED_CPUS=c"
BOOT = "/etc/tmpfiles.d/os-tuning-irq.conf"


@pytest.fixture
def host(tmp_path: Path) -> HostTree:
    tree = HostTree(tmp_path, cpus="0-3")
    tree.put("/proc/irq/default_smp_affinity", "f")
    for irq, cpus in {1: "0-3", 24: "3", 25: "0"}.items():
        tree.put(f"/proc/irq/{irq}/smp_affinity_list", cpus)
    return tree


def converge(host: HostTree, housekeeping: str = "0-1", present: bool = True, check: bool = False) -> Any:
    return irq_affinity.run(host.root, housekeeping, present, check)


def lists(host: HostTree) -> list[str]:
    return [host.text(f"/proc/irq/{irq}/smp_affinity_list") for irq in (1, 24, 25)]


def test_interrupts_keep_to_housekeeping_and_stay_where_they_already_do(host: HostTree) -> None:
    assert converge(host)["changed"]
    assert lists(host) == ["0-1", "0-1", "0"]
    assert host.text("/proc/irq/default_smp_affinity") == "3"
    assert "w- /proc/irq/*/smp_affinity_list - - - - 0-1" in host.text(BOOT)
    assert not converge(host)["changed"]


def test_check_mode_writes_nothing(host: HostTree) -> None:
    before = host.snapshot()
    assert converge(host, check=True)["changed"]
    assert host.snapshot() == before


def test_absent_restores_every_list_and_file(host: HostTree) -> None:
    host.put("/usr/lib/systemd/system/irqbalance.service", "[Service]")
    before = host.snapshot()
    converge(host)
    assert converge(host, present=False)["changed"]
    assert host.snapshot() == before
    assert not converge(host, present=False)["changed"]


def test_irqbalance_is_banned_from_the_other_cpus_only_where_it_is_installed(host: HostTree) -> None:
    converge(host)
    assert not host.place(BAN).exists()
    host.put("/usr/lib/systemd/system/irqbalance.service", "[Service]")
    assert converge(host)["changed"]
    assert "Environment=IRQBALANCE_BANNED_CPULIST=2-3\nEnvironment=IRQBALANCE_BANNED_CPUS=c" in host.text(BAN)
    assert not converge(host)["changed"]


def run_irqbalance(host: HostTree, environment: str) -> None:
    host.put("/usr/lib/systemd/system/irqbalance.service", "[Service]")
    host.put("/proc/77/comm", "irqbalance")
    host.put("/proc/77/environ", f"LANG=C\0{environment}\0")


def test_a_running_irqbalance_with_another_ban_is_stale_until_it_is_restarted(host: HostTree) -> None:
    run_irqbalance(host, "")
    assert converge(host)["irqbalance_stale"]
    again = converge(host)
    assert (again["changed"], again["irqbalance_stale"]) == (True, True), "a play killed before the restart is repeated"
    run_irqbalance(host, BANNED)
    assert not converge(host)["changed"]
    assert converge(host, present=False)["irqbalance_stale"]
    run_irqbalance(host, "")
    assert not converge(host, present=False)["changed"]


def test_other_peoples_bytes_are_no_obstacle(host: HostTree) -> None:
    run_irqbalance(host, BANNED)
    host.place("/proc/76").mkdir()
    host.place("/proc/76/comm").write_bytes(b"\xfc\n")
    host.put("/etc/default/irqbalance", "")
    host.place("/etc/default/irqbalance").write_bytes(b"# f\xfcr uns\n")
    assert not converge(host)["irqbalance_stale"]


def test_a_ban_of_the_administrators_own_is_left_in_force(host: HostTree) -> None:
    run_irqbalance(host, "IRQBALANCE_BANNED_CPULIST=0\0IRQBALANCE_BANNED_CPUS=c")
    host.put("/etc/default/irqbalance", '#IRQBALANCE_ONESHOT=\nIRQBALANCE_BANNED_CPULIST="0"')
    assert not converge(host)["irqbalance_stale"]


@pytest.mark.parametrize("known", ["IRQBALANCE_BANNED_CPULIST=2-3", "IRQBALANCE_BANNED_CPUS=c"])
def test_an_irqbalance_is_stale_without_either_ban_because_its_version_may_know_one_only(
    host: HostTree, known: str
) -> None:
    run_irqbalance(host, known)
    assert converge(host)["irqbalance_stale"]


def test_an_irqbalance_that_ignores_its_ban_is_told_of_after_its_next_pass(
    host: HostTree, monkeypatch: pytest.MonkeyPatch, run_module: RunModule
) -> None:
    run_irqbalance(host, BANNED)
    assert converge(host)["irqbalance_ignores"] == []
    host.put("/proc/irq/24/smp_affinity_list", "0")
    assert converge(host)["irqbalance_ignores"] == [], (
        "irqbalance moves interrupts about as it likes among its own CPUs"
    )
    host.put("/proc/irq/24/smp_affinity_list", "3")
    host.stand_in(monkeypatch, irq_affinity)
    report = run_module("irq_affinity", housekeeping="0-1")
    assert report["irqbalance_ignores"] == ["irq24"]
    assert "irqbalance ignores its ban and has put irq24 on the engine's CPUs again" in str(report["warnings"])


def test_an_interrupt_the_kernel_holds_is_told_apart(host: HostTree) -> None:
    host.link("/proc/irq/24/smp_affinity_list", "/sys/devices/system/cpu/kernel_max")  # this file cannot be written
    knobs = {knob["status"]: knob for knob in converge(host)["knobs"]}
    assert "irq24" in knobs["refused"]["reason"]


def test_one_cpu_leaves_nothing_to_do(tmp_path: Path) -> None:
    host = HostTree(tmp_path)
    host.put("/proc/irq/1/smp_affinity_list", "0")
    before = host.snapshot()
    result = converge(host, "0")
    assert [knob["status"] for knob in result["knobs"]] == ["not_applicable"]
    assert host.snapshot() == before


@pytest.mark.parametrize("text", ["4", "", "1-0", "0-9"])
def test_cpus_outside_the_host_are_an_error(host: HostTree, text: str) -> None:
    with pytest.raises(TuningError, match="housekeeping"):
        converge(host, text)


def test_a_list_that_cannot_be_read_is_left_alone(host: HostTree) -> None:
    host.place("/proc/irq/24/smp_affinity_list").unlink()
    host.link("/proc/irq/24/smp_affinity_list", "/nowhere")
    assert converge(host)["changed"]


def test_the_module_moves_and_restores_as_its_parameters_say(
    host: HostTree, monkeypatch: pytest.MonkeyPatch, run_module: RunModule
) -> None:
    host.stand_in(monkeypatch, irq_affinity)
    before = host.snapshot()
    assert run_module("irq_affinity", check=True, housekeeping="0-1")["changed"] is True
    assert host.snapshot() == before
    assert run_module("irq_affinity", housekeeping="0-1")["irqbalance_stale"] is False
    assert lists(host) == ["0-1", "0-1", "0"]
    host.put("/proc/irq/24/smp_affinity_list", "2")  # another program's setting
    run_module("irq_affinity", housekeeping="0-1", state="absent")
    assert lists(host) == ["0-3", "2", "0"]
    assert run_module("irq_affinity", housekeeping="0-1", state="absent", force=True)["changed"] is True
    assert host.snapshot() == before


def test_the_module_says_in_one_line_which_cpus_there_are(
    host: HostTree, monkeypatch: pytest.MonkeyPatch, run_module: RunModule
) -> None:
    host.stand_in(monkeypatch, irq_affinity)
    report = run_module("irq_affinity", housekeeping="4")
    assert (report["failed"], report["msg"]) == (True, "housekeeping '4': this host has the CPUs 0-3")
