"""What the roles' defaults are made of: shared targets, names of an environment, and the old names of variables."""

from __future__ import annotations

import pytest
from ansible.utils.display import Display
from ansible_collections.lowlatency.trading.plugins.filter.environment_names import environment_names
from ansible_collections.lowlatency.trading.plugins.filter.formerly import formerly
from ansible_collections.lowlatency.trading.plugins.filter.slo_targets import PROMISED, slo_targets
from ansible_collections.lowlatency.trading.plugins.lookup.state_path import LookupModule


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What Ansible would have warned of."""
    said: list[str] = []
    monkeypatch.setattr(Display, "warning", lambda _self, text: said.append(text))
    return said


def test_a_target_of_ones_own_replaces_that_of_the_promise_alone() -> None:
    assert slo_targets({"p99_us": 1500}) == {**PROMISED, "p99_us": 1500}


def test_what_is_no_target_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"trading_slo: there is no target p999_us; there are avg_us, "):
        slo_targets({"p999_us": 1})


def test_an_old_name_counts_and_is_warned_of(warnings: list[str]) -> None:
    assert formerly(40, "36", "aws_monthly_budget_usd", "trading_budget_usd") == "36"
    assert len(warnings) == 1
    assert warnings[0].startswith("aws_monthly_budget_usd is now trading_budget_usd")


@pytest.mark.parametrize("same", [None, 8, "8"])
def test_an_old_name_that_says_nothing_else_is_no_reason_to_warn(same: object, warnings: list[str]) -> None:
    assert formerly(8, same, "aws_instance_root_volume_gib", "trading_root_volume_gib") == 8
    assert not warnings


def test_the_users_tags_never_replace_those_by_which_resources_are_found() -> None:
    names = environment_names("demo", {"Team": "desk", "Project": "mine"})
    assert names["tags"] == {"Team": "desk", "Project": "lowlatency-trading", "Environment": "demo"}
    assert names["path"] == "/lowlatency-trading/demo/"


def test_the_state_directory_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert LookupModule().run(["reports"]) == ["/state/lowlatency.trading/reports"]
    monkeypatch.setenv("XDG_STATE_HOME", "")
    monkeypatch.setenv("HOME", "/home/you")
    assert LookupModule().run(["reports"]) == ["/home/you/.local/state/lowlatency.trading/reports"]
