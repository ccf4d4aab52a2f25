#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that measures how late timers fire on a host. The tuning benchmark uses it."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: timer_jitter
short_description: Measure how late a process wakes up from a short sleep
version_added: 0.1.0
description:
  - Sleep repeatedly until the next whole interval, as cyclictest does, and report how late each wake-up was.
  - Run with a timer slack of 1 ns and normal priority, on the given CPU or on any CPU.
  - Compare the figures only with each other, not with those of cyclictest. They include some microseconds of Python.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  duration_s:
    description: The seconds to measure.
    type: float
    default: 2
  interval_us:
    description: The interval between two wake-ups in microseconds.
    type: int
    default: 500
  cpu:
    description: The CPU to measure on.
    type: int
extends_documentation_fragment:
  - lowlatency.trading.common.info
"""

EXAMPLES = r"""
- name: Measure the timers of the engine's CPU
  lowlatency.trading.timer_jitter:
    cpu: 3
  register: jitter
"""

RETURN = r"""
figures:
  description: The number of wake-ups, and their lateness in microseconds by percentile.
  returned: success
  type: dict
  sample: {samples: 4000, lateness_us: {p50: 4.1, p99: 11.9, p999: 48.0, max: 120.3}}
"""

import ctypes
import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

PR_SET_TIMERSLACK = 29


def observe(duration_s: float, interval_us: int) -> dict[str, Any]:
    """Return the figures of one measurement (see RETURN), which runs in this process."""
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
    interval_ns = interval_us * 1000
    lateness_ns = []
    due_ns = time.monotonic_ns() + interval_ns
    end_ns = due_ns + int(duration_s * 1e9)
    while due_ns < end_ns:
        time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
        now_ns = time.monotonic_ns()
        lateness_ns.append(now_ns - due_ns)
        due_ns += interval_ns * max(1, 1 + (now_ns - due_ns) // interval_ns)
    return summary(lateness_ns)


def summary(lateness_ns: list[int]) -> dict[str, Any]:
    """Return the number of wake-ups, and percentiles in microseconds of how late they were."""
    ordered = sorted(lateness_ns)

    def percentile(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1000

    shares = {"p50": 0.5, "p99": 0.99, "p999": 0.999, "max": 1.0}
    return {"samples": len(ordered), "lateness_us": {name: percentile(share) for name, share in shares.items()}}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "duration_s": {"type": "float", "default": 2.0},
            "interval_us": {"type": "int", "default": 500},
            "cpu": {"type": "int"},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    if not 0 < wanted["duration_s"] <= 600 or not 50 <= wanted["interval_us"] <= 1_000_000:
        module.fail_json(msg="duration_s must be more than 0 up to 600, interval_us 50 to 1000000")
    if wanted["cpu"] is not None:
        try:
            os.sched_setaffinity(0, {wanted["cpu"]})
        except OSError as error:
            module.fail_json(msg=f"cpu {wanted['cpu']}: this host does not let a process run there ({error.strerror})")
    module.exit_json(changed=False, figures=observe(wanted["duration_s"], wanted["interval_us"]))


if __name__ == "__main__":
    main()
