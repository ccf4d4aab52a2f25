"""The role os_tuning finds other services that also change the host's tuning.

It reads systemd's output for this.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning import other_tuners
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.errors import TuningError

from .host_tree import HostTree


def block(name: str, load: str = "loaded", active: str = "inactive", file: str = "disabled") -> str:
    return f"Id={name}\nLoadState={load}\nActiveState={active}\nUnitFileState={file}\n"


@pytest.fixture
def host(tmp_path: Path) -> HostTree:
    return HostTree(tmp_path)


@pytest.mark.parametrize(
    ("active", "file", "on"),
    [
        ("active", "enabled", True),
        ("inactive", "enabled", True),  # it starts at the next boot
        ("active", "disabled", True),
        ("activating", "static", True),
        ("inactive", "disabled", False),
        ("failed", "masked", False),
    ],
)
def test_a_service_that_runs_or_will_is_found(host: HostTree, active: str, file: str, on: bool) -> None:
    host.put("/etc/tuned/active_profile", "virtual-guest")
    shown = block("tlp.service", "not-found", file="") + "\n" + block("tuned.service", active=active, file=file)
    found = other_tuners.read(host.root, shown)["other_tuners"]
    assert [(one["name"], one["profile"]) for one in found] == ([("tuned.service", "virtual-guest")] if on else [])


def test_a_host_without_systemd_has_none(host: HostTree) -> None:
    assert other_tuners.read(host.root, "") == {"other_tuners": [], "stopped_tuners": []}


def test_what_was_stopped_is_started_again_only_if_it_is_still_installed(host: HostTree) -> None:
    stopped = [
        {"name": name, "active": True, "enabled": False, "profile": ""} for name in ("tlp.service", "tuned.service")
    ]
    host.put(other_tuners.RECORD, json.dumps(stopped))
    shown = block("tlp.service", "not-found", file="") + "\n" + block("tuned.service")
    assert other_tuners.read(host.root, shown)["stopped_tuners"] == [
        {"name": "tuned.service", "active": True, "enabled": False}
    ]


@pytest.mark.parametrize("text", ["{", '[{"name": 1}]', "7"])
def test_a_damaged_record_is_named_with_what_to_do(host: HostTree, text: str) -> None:
    host.put(other_tuners.RECORD, text)
    with pytest.raises(TuningError, match=r"os-tuning-services.json: is damaged .* start them by hand and remove the"):
        other_tuners.read(host.root, "")
