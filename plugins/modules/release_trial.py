#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that tests a release on a copy of the running engine's journal."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_trial
short_description: Compare the results of two releases for a copy of the engine's journal
version_added: 0.1.0
description:
  - Make a copy of the newest snapshot and the journal after it. Replay the copy with the running release and with the
    new one. Fail when the SHA-256 of replies, market data or state differs.
  - Have the new release check the engine's configuration as well.
  - Leave the running engine undisturbed. The replays get only idle processor time, and the kernel kills them first when
    memory runs out. Files that the engine no longer writes are linked, not copied.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  reserve_bytes:
    description: The bytes that must stay free on the journal's file system, in addition to the copy.
    type: int
    default: 268435456
  budget_bytes:
    description: >-
      The budget of the journal in bytes. The engine takes orders only while a twentieth of the budget is free.
    type: int
    default: 2147483648
  cpus:
    description: The numbers of the CPUs for the replays; an empty list allows all CPUs.
    type: list
    elements: int
    default: []
extends_documentation_fragment:
  - lowlatency.trading.common.info
  - lowlatency.trading.common.release
"""

EXAMPLES = r"""
- name: Try the next release on what the engine has journaled
  lowlatency.trading.release_trial:
    root: /opt/trading
    release: 0123456789abcdef
    cpus: [0]
"""

RETURN = r"""
running:
  description: The running release.
  type: str
  returned: success
records:
  description: The number of replayed records; 0 when the new release already runs, so that nothing was tested.
  type: int
  returned: success
messages:
  description: The number of clients' messages in these records.
  type: int
  returned: success
sha256:
  description: The SHA-256 of the replies to each account, of market data, and of the state.
  type: dict
  returned: success
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils.release import copied
from ansible_collections.lowlatency.trading.plugins.module_utils.release.running import (
    RELEASE,
    Program,
    RunningError,
    Unit,
)

OOM_SCORE = 500


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the names of the results in which two replays differ, such as "replies to BENCH", "feed" or "state"."""
    found = [what for what in ("feed", "state") if one[what] != other[what]]
    accounts = sorted({*one["replies"], *other["replies"]})
    return [
        *(f"replies to {name}" for name in accounts if one["replies"].get(name) != other["replies"].get(name)),
        *found,
    ]


def prefix(cpus: list[int]) -> list[str]:
    """Return the words before a command that give it the lowest CPU and I/O priority and limit it to the given CPUs."""
    weak = ["choom", "-n", str(OOM_SCORE), "--", "ionice", "-c", "3", "chrt", "--idle", "0"]
    return [*weak, "taskset", "--cpu-list", ",".join(map(str, cpus))] if cpus else weak


def observe(module: AnsibleModule, running: str) -> dict[str, Any]:
    """Replay a copy of the journal with both releases, and return the result, which is the same for both.

    Raises RunningError when the results differ or a replay fails. Raises CopyError or OSError when the copy fails.
    """
    root, journal = Path(module.params["root"]), Path(module.params["journal"])
    release, before = module.params["release"], prefix(module.params["cpus"])
    Program(module, root, release).ask("check-config", module.params["config"])
    try:
        copy = copied.make(journal, module.params["reserve_bytes"], module.params["budget_bytes"])
        now = Program(module, root, running, before).answer("replay", str(copy))
        then = Program(module, root, release, before).answer("replay", "--any-version", str(copy))
    finally:
        copied.remove(journal)
    if difference := differing(now["sha256"], then["sha256"]):
        raise RunningError(
            f"release {release} does not do what the running release {running} does: of {then['records']} journaled "
            f"records it gives other {', '.join(difference)}. Nothing was touched. Where the difference is meant, stop "
            "clients and take the release with configure.yml and trading_engine_restart=always"
        )
    return then


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **RELEASE,
            "reserve_bytes": {"type": "int", "default": 268435456},
            "budget_bytes": {"type": "int", "default": 2147483648},
            "cpus": {"type": "list", "elements": "int", "default": []},
        },
        supports_check_mode=True,
    )
    unit = Unit(module, module.params["unit"], Path(module.params["root"]))
    running = unit.release()
    found: dict[str, Any] = {"records": 0, "messages": 0, "sha256": {}}
    try:
        if not running:
            raise RunningError(f"{unit.name} runs no release, so there is nothing to compare with: run configure.yml")
        if running != module.params["release"]:
            found = observe(module, running)
    except (RunningError, copied.CopyError, OSError) as error:
        module.fail_json(msg=str(error))
    kept = {name: found[name] for name in ("records", "messages", "sha256")}
    module.exit_json(changed=False, running=running, **kept)


if __name__ == "__main__":
    main()
