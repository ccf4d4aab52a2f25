from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.errors import TuningError

from .conftest import RunModule
from .host_tree import HostTree

cpu_governor = importlib.import_module("ansible_collections.lowlatency.trading.plugins.modules.cpu_governor")

BOOT_FILE = "/etc/tmpfiles.d/os-tuning-governor.conf"


def governor_of(cpu: int) -> str:
    return f"/sys/devices/system/cpu/cpufreq/policy{cpu}/scaling_governor"


@pytest.fixture
def host(tmp_path: Path) -> HostTree:
    tree = HostTree(tmp_path, cpus="0-1")
    tree.put(governor_of(0), "powersave")
    tree.put(governor_of(1), "schedutil")
    return tree


def converge(host: HostTree, governor: str = "performance", present: bool = True, check: bool = False) -> Any:
    return cpu_governor.run(host.root, governor, present, check)


def test_a_host_without_cpufreq_is_not_applicable_and_unchanged(tmp_path: Path) -> None:
    host = HostTree(tmp_path)
    before = host.snapshot()
    result = converge(host)
    assert not result["changed"]
    assert [(knob["status"], knob["reason"]) for knob in result["knobs"]] == [
        ("not_applicable", "this host has no cpufreq")
    ]
    assert host.snapshot() == before


def test_every_policy_is_set_once_and_again_at_boot(host: HostTree) -> None:
    assert converge(host)["changed"]
    assert [host.text(governor_of(cpu)) for cpu in (0, 1)] == ["performance", "performance"]
    assert "policy*/scaling_governor - - - - performance" in host.text(BOOT_FILE)
    assert not converge(host)["changed"]
    assert [knob["status"] for knob in converge(host)["knobs"]] == ["already"]


def test_check_mode_writes_nothing(host: HostTree) -> None:
    before = host.snapshot()
    assert converge(host, check=True)["changed"]
    assert host.snapshot() == before


def test_absent_gives_each_policy_its_own_governor_back(host: HostTree) -> None:
    before = host.snapshot()
    converge(host)
    assert converge(host, present=False)["changed"]
    assert host.snapshot() == before
    assert not converge(host, present=False)["changed"]


def test_policies_that_differ_in_their_fate_are_told_apart(host: HostTree) -> None:
    host.link(governor_of(1), "/proc/sys/kernel/ostype")  # this file cannot be written
    statuses = {knob["status"]: knob["reason"] for knob in converge(host)["knobs"]}
    assert set(statuses) == {"applied", "refused"}
    assert statuses["refused"].startswith("1 of 2: policy1; EACCES")


def test_a_governor_that_is_no_word_is_an_error(host: HostTree) -> None:
    with pytest.raises(TuningError, match="governor"):
        converge(host, governor="performance; reboot")


def test_the_module_sets_and_restores_as_its_parameters_say(
    host: HostTree, monkeypatch: pytest.MonkeyPatch, run_module: RunModule
) -> None:
    host.stand_in(monkeypatch, cpu_governor)
    before = host.snapshot()
    assert run_module("cpu_governor", check=True)["changed"] is True
    assert host.snapshot() == before
    assert run_module("cpu_governor")["diff"]["before"] == "policy0 = powersave\npolicy1 = schedutil\n"
    assert [host.text(governor_of(cpu)) for cpu in (0, 1)] == ["performance", "performance"]
    run_module("cpu_governor", governor="ondemand")
    assert [host.text(governor_of(cpu)) for cpu in (0, 1)] == ["ondemand", "ondemand"]
    host.put(governor_of(0), "userspace")  # another program's setting
    run_module("cpu_governor", state="absent")
    assert [host.text(governor_of(cpu)) for cpu in (0, 1)] == ["userspace", "schedutil"]
    assert run_module("cpu_governor", state="absent", force=True)["changed"] is True
    assert host.snapshot() == before


def test_the_module_says_in_one_line_what_is_no_governor(
    host: HostTree, monkeypatch: pytest.MonkeyPatch, run_module: RunModule
) -> None:
    host.stand_in(monkeypatch, cpu_governor)
    report = run_module("cpu_governor", governor="performance; reboot")
    assert (report["failed"], report["msg"]) == (
        True,
        "governor 'performance; reboot' is not a name such as performance",
    )
