"""The status of the backup to the S3 bucket.

The backup's own process, `trading_backup`, sends the journal to the bucket. It writes the file STATUS each time that it
has looked for new records of the journal. This module reads that file.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path

CONFIGURED = Path("/etc/trading/backup.toml")
"""The configuration of the backup. If this file exists, the host has to have a backup.

Telemetry has no setting of its own for this, because an older release, after a rollback, would refuse such a setting.
"""
STATUS = Path("/run/trading-backup/status.json")
LOSS_TOLD_S = 3600.0
"""The time for which a loss of journal segments is reported."""


@dataclass(frozen=True)
class Backup:
    """The status of the backup. If `runs` is False, no status could be read, and all other fields have no meaning."""

    runs: bool
    rpo_s: float = 0.0
    """The promised greatest age of journal data that is not yet in the bucket (recovery point objective)."""
    backlog_bytes: int = 0
    """The size of the journal data that is not yet in the bucket."""
    oldest_unsent_s: float = 0.0
    """The present age of the oldest journal data that is not yet in the bucket; 0 if there is none."""
    lost_segments: int = 0
    """The number of journal segments that were deleted before they were in the bucket."""
    lost_lately: bool = False
    """Whether a segment was lost within the last LOSS_TOLD_S."""
    refused: bool = False
    """Whether the last attempt to send failed, in whole or in part."""


def read_backup() -> Backup | None:
    """Return the status of the backup, or None if the host is configured to have no backup."""
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
            # If the status file is old, the process does not look at the journal any more, and the data ages further.
            oldest_unsent_s=age_s + silent_s if age_s or silent_s > rpo_s else 0.0,
            lost_segments=int(found["lost_segments"]),
            lost_lately=lost_s > 0 and now_s - lost_s < LOSS_TOLD_S,
            refused=bool(found["error"]),
        )
    except (OSError, ValueError, TypeError, KeyError):
        return Backup(runs=False)
