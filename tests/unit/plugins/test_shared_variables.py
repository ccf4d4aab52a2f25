"""Values that the defaults of several roles share.

These are the targets, the names of an environment, and the former names of variables.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from ansible.utils.display import Display
from ansible_collections.lowlatency.trading.plugins.filter.environment_names import environment_names
from ansible_collections.lowlatency.trading.plugins.filter.formerly import formerly
from ansible_collections.lowlatency.trading.plugins.filter.slo_targets import PROMISED, slo_targets
from ansible_collections.lowlatency.trading.plugins.lookup.state_path import LookupModule

ROOT = Path(__file__).parents[3]


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which each warning is added that Ansible would show."""
    said: list[str] = []
    monkeypatch.setattr(Display, "warning", lambda _self, text: said.append(text))
    return said


def test_a_target_of_ones_own_replaces_that_of_the_promise_alone() -> None:
    assert slo_targets({"p99_us": 1500}) == {**PROMISED, "p99_us": 1500}


def test_on_one_cpu_the_feed_has_more_time_unless_the_user_says_otherwise() -> None:
    assert slo_targets({}, 1) == {**PROMISED, "feed_p99_us": 10_000}
    assert slo_targets({"feed_p99_us": 5}, 1)["feed_p99_us"] == 5


def test_what_is_no_target_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"trading_slo: there is no target p999_us; there are avg_us, "):
        slo_targets({"p999_us": 1})


def test_an_old_name_counts_and_is_warned_of(warnings: list[str]) -> None:
    assert formerly({}, 40, "36", "aws_monthly_budget_usd", "trading_budget_usd") == "36"
    assert len(warnings) == 1
    assert warnings[0].startswith("aws_monthly_budget_usd is now trading_budget_usd")


@pytest.mark.parametrize(
    ("variables", "new_name"),
    [({"trading_budget_usd": 100}, "trading_budget_usd"), ({"trading_slo": {"p99_us": 100}}, "trading_slo.p99_us")],
)
def test_the_new_name_wins_where_both_are_set(variables: dict[str, object], new_name: str, warnings: list[str]) -> None:
    assert formerly(variables, 100, 40, "old", new_name) == 100
    assert warnings == [f"old is ignored, because {new_name} is set: remove the old name"]


def test_ansible_itself_tells_the_filter_what_is_set(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(
        "- hosts: localhost\n  connection: local\n  gather_facts: false\n  vars: {old: 40}\n  tasks:\n"
        "    - ansible.builtin.assert:\n        that:\n"
        "          - (unset | default(8) | lowlatency.trading.formerly(old, 'old', 'unset')) | int == 40\n"
        "          - (new | default(8) | lowlatency.trading.formerly(old, 'old', 'new')) | int == 100\n"
        "          - ((slo | default({})).p99 | lowlatency.trading.formerly(old, 'old', 'slo.p99')) | int == 1\n"
        "          - (8 | lowlatency.trading.formerly(old, 'old', 'slo.p95')) | int == 40\n",
        encoding="utf-8",
    )
    values = ["-e", "new=100", "-e", '{"slo": {"p99": 1}}']
    command = ["ansible-playbook", "-i", "localhost,", *values, str(tmp_path / "play.yml")]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "old is ignored, because new is set" in done.stderr + done.stdout


def test_another_key_of_the_same_dictionary_is_not_the_new_name(warnings: list[str]) -> None:
    assert formerly({"trading_slo": {"avg_us": 1}}, 100, 40, "old", "trading_slo.p99_us") == 40
    assert warnings


@pytest.mark.parametrize("same", [None, 8, "8"])
def test_an_old_name_that_says_nothing_else_is_no_reason_to_warn(same: object, warnings: list[str]) -> None:
    assert formerly({}, 8, same, "aws_instance_root_volume_gib", "trading_root_volume_gib") == 8
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
