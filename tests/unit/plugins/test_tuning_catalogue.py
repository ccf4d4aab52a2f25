"""The modules of the role os_tuning accept all settings of the role. They refuse harmful settings of users."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning import kernelfs
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.tunables import Host, gate

from .host_tree import HostTree

kernel_cmdline = importlib.import_module("ansible_collections.lowlatency.trading.plugins.modules.kernel_cmdline")

ROLE = Path(__file__).parents[3] / "roles/os_tuning"
VARS: dict[str, Any] = yaml.safe_load((ROLE / "vars/main.yml").read_text(encoding="utf-8"))
CATALOGUE = [knob for knobs in VARS["__os_tuning_catalogue"].values() for knob in knobs]
NEVER = [{"value": None, **entry} for entry in VARS["__os_tuning_never"]]
DEFAULTS = {"value": None, "only_raise": False, "percent_of_ram": None, "unit": "bytes", "min_cpus": 1}
BOUNDS = {"minimum_mib": None, "maximum_mib": None}


def gated(name: str, value: str) -> dict[str, str]:
    """Return what the role does with one setting that a user gives in os_tuning_sysctl.

    The key is the outcome, such as "refused". The value is the reason.
    """
    _, outcomes = gate([{**DEFAULTS, **BOUNDS, "name": name, "value": value}], [], NEVER, Host(4, 2**22))
    return {outcome.status: outcome.reason for outcome in outcomes}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vm.mlockall", "1"),
        ("kernel.sched_latency_ns", "1000000"),
        ("kernel.sched_min_granularity_ns", "1000000"),
        ("net.ipv4.tcp_low_latency", "1"),
        ("net.ipv4.tcp_adv_win_scale", "1"),
        ("net.ipv4.tcp_sack", "0"),
        ("net.ipv4.tcp_timestamps", "0"),
        ("net.core.default_qdisc", "noqueue"),
        ("vm.dirty_ratio", "5"),
        ("vm.dirty_background_ratio", "5"),
        ("vm.nr_hugepages", "512"),
        ("kernel.panic_on_oops", "1"),
    ],
)
def test_what_is_never_set_is_refused_with_a_reason_when_a_user_asks(name: str, value: str) -> None:
    assert gated(name, value).get("refused")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("net.ipv4.tcp_sack", "1"),
        ("net.ipv4.tcp_timestamps", "1"),
        ("net.core.default_qdisc", "fq"),
        ("vm.stat_interval", "5"),
    ],
)
def test_the_harmless_value_of_such_a_key_is_a_users_to_set(name: str, value: str) -> None:
    assert gated(name, value) == {}


@pytest.mark.parametrize("argument", ["idle=poll", "mitigations=off", "audit=0", "hugepages=512"])
def test_what_is_never_handed_to_a_boot_is_refused_with_a_reason(tmp_path: Path, argument: str) -> None:
    tools = kernel_cmdline.Tools("", "")
    never = VARS["__os_tuning_never_at_boot"]
    result = kernel_cmdline.run(HostTree(tmp_path).root, [argument], never, tools, lambda _: (1, "", ""), True)
    assert [(knob["status"], bool(knob["reason"])) for knob in result["knobs"]] == [("refused", True)]


def test_no_profile_asks_for_what_is_never_set() -> None:
    for knob in CATALOGUE:
        assert "refused" not in gated(knob["name"], str(knob.get("value", "1"))), knob["name"]


def test_every_knob_is_named_once_and_can_be_found() -> None:
    names = [knob["name"] for knob in CATALOGUE]
    assert len(names) == len(set(names))
    assert all(kernelfs.path_of(name) for name in names)


def test_what_isolates_cpus_is_in_ultra_alone() -> None:
    levels = VARS["__os_tuning_profiles"]
    assert [name for name, contents in levels.items() if "ultra" in contents] == ["ultra"]
    assert "cpumask" not in str(VARS["__os_tuning_catalogue"]["safe"] + VARS["__os_tuning_catalogue"]["low_latency"])


def test_every_knob_of_the_catalogue_is_in_the_documentation() -> None:
    text = (ROLE.parents[1] / "docs/tuning.md").read_text(encoding="utf-8")
    boot = [knob["name"] for knob in VARS["__os_tuning_boot_catalogue"]]
    for name in [knob["name"].rpartition(".")[2] for knob in CATALOGUE if not knob["name"].startswith("/")] + boot:
        assert name in text, name
