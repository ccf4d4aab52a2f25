"""Each wrong input of a user is reported in one line, before anything changes on a host."""

from __future__ import annotations

import json

import pytest

from tests.proofs.tuning_host import TUNE, TuningHost


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"os_tuning_profile": "fast"},
            "value of os_tuning_profile must be one of: safe, low_latency, ultra, off, got: fast",
        ),
        ({"os_tuning_veto": ["vm.swapiness"]}, "os_tuning_veto: unknown knob vm.swapiness; known are vm.swappiness"),
        ({"os_tuning_engine_cpus": "0-9"}, "engine CPUs '0-9': this host has no CPU 2-9"),
        ({"os_tuning_sysctl": {"swappiness": 1}}, "tunable 'swappiness' is not a sysctl key such as vm.swappiness"),
        ({"os_tuning_boot_arguments": ["skew_tick 1"]}, "os_tuning_boot_arguments: 'skew_tick 1' is not a word"),
    ],
)
def test_it_is_named_and_the_host_is_as_before(
    tuning_host: TuningHost, variables: dict[str, object], said: str
) -> None:
    before = tuning_host.state()
    play = tuning_host.play(TUNE, "-e", json.dumps(variables))
    assert play.exit_code == 2
    assert said in play.output
    assert "Traceback" not in play.output
    assert tuning_host.state() == before
