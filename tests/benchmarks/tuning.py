"""Measures the tuning on a machine that is already tuned.

The figures are the times of a second run of the role os_tuning, and of each module alone.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import statistics
import time
from collections.abc import Iterator
from typing import Any

import yaml
from ansible.module_utils.testing import patch_module_args

from tests.benchmarks.figures import Figure
from tests.proofs.tuning_host import ROOT, TUNE, booted

_REPEATS = 5


def tuning(variant: str) -> Iterator[Figure]:
    """Measure the tuning. The tuning does not run the engine, so the compiled variant has no figures here."""
    if variant != "pure":
        return
    with booted("tuning-bench", "10.77.0.0/16") as host:
        host.play_to_the_end(TUNE)
        begun_s = time.monotonic()
        again = host.play_to_the_end(TUNE)
        took_s = time.monotonic() - begun_s
    yield Figure("tuning", variant, "role on a tuned machine, profile ultra", took_s, "s", aim="≤ 12")
    yield Figure("tuning", variant, "tasks that reach the host", len(again.host_tasks), "tasks", aim="≤ 15")
    for name, arguments in _modules().items():
        yield Figure(
            "tuning", variant, f"main() of {name}, here, check mode", _main_ms(name, arguments), "ms", aim="≤ 150"
        )


def _modules() -> dict[str, dict[str, Any]]:
    role = yaml.safe_load((ROOT / "roles/os_tuning/vars/main.yml").read_text())
    catalogue = role["__os_tuning_catalogue"]
    return {
        "host_topology_info": {},
        "kernel_tunables": {
            "tunables": catalogue["safe"] + catalogue["low_latency"],
            "never": role["__os_tuning_never"],
        },
        "cpu_governor": {},
        "irq_affinity": {"housekeeping": "0"},
        "nic_settings": {"min_cpus": 1},
        "kernel_cmdline": {"arguments": ["skew_tick=1"], "never": role["__os_tuning_never_at_boot"]},
    }


def _main_ms(name: str, arguments: dict[str, Any]) -> float:
    module = importlib.import_module(f"ansible_collections.lowlatency.trading.plugins.modules.{name}")
    times_ms = []
    for _ in range(_REPEATS):
        with (
            patch_module_args({**arguments, "_ansible_check_mode": True}),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.suppress(SystemExit),
        ):
            begun_ns = time.perf_counter_ns()
            try:
                module.main()
            finally:
                times_ms.append((time.perf_counter_ns() - begun_ns) / 1e6)
    return statistics.median(times_ms)
