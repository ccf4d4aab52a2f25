"""The backup's status, which its shipper (trading_backup) writes after each look at the journal."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

CONFIGURED = Path("/etc/trading/backup.toml")
"""The file whose existence promises a backup. A setting of telemetry cannot: an older release would refuse it."""
STATUS = Path("/run/trading-backup/status.json")
LOSS_TOLD_S = 3600.0


@dataclass(frozen=True)
class Backup:
    """The status of the backup. Ages are relative to now; without a shipper all other fields are unknown."""

    runs: bool
    rpo_s: float = 0.0
    backlog_bytes: int = 0
    oldest_unsent_s: float = 0.0
    lost_segments: int = 0
    lost_lately: bool = False
    refused: bool = False


def read_backup() -> Backup | None:
    """Return the status of the backup, None where no backup is promised."""
    if not CONFIGURED.exists():
        return None
    try:
        found = json.loads(STATUS.read_text(encoding="utf-8"))
        now_s = time.time()
        rpo_s, lost_s = float(found["rpo_seconds"]), float(found["lost_s"])
        age_s, silent_s = float(found["oldest_unsent_seconds"]), max(now_s - found["looked_s"], 0.0)
        return Backup(
            runs=True,
            rpo_s=rpo_s,
            backlog_bytes=int(found["backlog_bytes"]),
            # A shipper that does not look any more sends nothing.
            oldest_unsent_s=age_s + silent_s if age_s or silent_s > rpo_s else 0.0,
            lost_segments=int(found["lost_segments"]),
            lost_lately=lost_s > 0 and now_s - lost_s < LOSS_TOLD_S,
            refused=bool(found["error"]),
        )
    except (OSError, ValueError, TypeError, KeyError):
        return Backup(runs=False)
