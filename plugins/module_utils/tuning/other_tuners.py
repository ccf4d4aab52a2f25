# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that find other services on a host which set governors and kernel values, such as tuned.

Such a service sets its values when it starts, after the files of the boot are read. When tuned stops, it restores the
values that it found. So while such a service is active, neither this collection's values nor the recorded original
values are reliable.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.lowlatency.trading.plugins.module_utils.tuning import kernelfs, undo
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.errors import TuningError

# tuned, and the services that its unit declares as conflicting.
TUNED = "tuned.service"
SERVICES = [TUNED, "tuned-ppd.service", "power-profiles-daemon.service", "tlp.service", "auto-cpufreq.service"]
COMMAND = ["systemctl", "show", "--property=Id,LoadState,ActiveState,UnitFileState", *SERVICES]
# The list of services that the role os_tuning stops. The role writes it before it stops any.
RECORD = "/var/lib/os-tuning-services.json"
PROFILE = "/etc/tuned/active_profile"


def read(root: Path, shown: str) -> dict[str, Any]:
    """Return `other_tuners`, the active or enabled services, and `stopped_tuners`, the services that the role stopped.

    `shown` is the output of the command COMMAND. Raises TuningError for a damaged record.
    """
    blocks = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in shown.split("\n\n")]
    known = [block for block in blocks if block.get("LoadState") == "loaded"]
    found = [
        {
            "name": block["Id"],
            "active": block.get("ActiveState") in ("active", "activating", "reloading"),
            "enabled": block.get("UnitFileState", "").startswith("enabled"),
            "profile": undo.read_file(kernelfs.under(root, PROFILE)).strip() if block["Id"] == TUNED else "",
        }
        for block in known
    ]
    return {
        "other_tuners": [service for service in found if service["active"] or service["enabled"]],
        "stopped_tuners": _stopped(root, {block["Id"] for block in known}),
    }


def _stopped(root: Path, known: set[str]) -> list[dict[str, Any]]:
    """Return the recorded services that the role has stopped, if they are still installed."""
    path = kernelfs.under(root, RECORD)
    text = undo.read_file(path)
    try:
        stopped = json.loads(text) if text else []
        services = [{key: one[key] for key in ("name", "active", "enabled")} for one in stopped]
    except (ValueError, KeyError, TypeError) as error:
        raise TuningError(
            f"{path}: is damaged ({error}). It holds which services tuned the host before: "
            "start them by hand and remove the file"
        ) from error
    return [service for service in services if service["name"] in known]
