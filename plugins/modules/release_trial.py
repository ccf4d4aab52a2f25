#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test a release on a copy of the running engine's journal."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_trial
short_description: Compare what two releases make of a copy of the engine's journal
version_added: 0.1.0
description:
  - Take the newest snapshot and the journal after it, replay the copy with the release that runs and with the one that
    is to be next, and fail when the SHA-256 of replies, market data or state differ.
  - Have the next release read the engine's configuration as well.
  - Leave the running engine alone. The replays get the processor time that nobody wants, and are what the kernel ends
    first when memory is out. Files that the engine does not write any more are linked, not copied.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  reserve_bytes:
    description: The bytes that stay free on the journal's file system beside the copy.
    type: int
    default: 268435456
  budget_bytes:
    description: The journal's budget, of which the engine needs a twentieth free to take orders.
    type: int
    default: 2147483648
  cpus:
    description: The CPUs that replay, all of them when empty.
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
  description: The release that runs.
  type: str
  returned: success
records:
  description: The number of records that both replayed, 0 when the release runs already and nothing was tried.
  type: int
  returned: success
messages:
  description: The number of clients' messages in them.
  type: int
  returned: success
sha256:
  description: The digests of the replies of each account, of market data, and of the state.
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
    """Return the names of the digests in which two replays differ."""
    found = [what for what in ("feed", "state") if one[what] != other[what]]
    accounts = sorted({*one["replies"], *other["replies"]})
    return [
        *(f"replies to {name}" for name in accounts if one["replies"].get(name) != other["replies"].get(name)),
        *found,
    ]


def prefix(cpus: list[int]) -> list[str]:
    """Return a command prefix for the lowest CPU and I/O priority, on the given CPUs."""
    weak = ["choom", "-n", str(OOM_SCORE), "--", "ionice", "-c", "3", "chrt", "--idle", "0"]
    return [*weak, "taskset", "--cpu-list", ",".join(map(str, cpus))] if cpus else weak


def observe(module: AnsibleModule, running: str) -> dict[str, Any]:
    """Return the result of the new release's replay. Raises RunningError, CopyError or OSError."""
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
