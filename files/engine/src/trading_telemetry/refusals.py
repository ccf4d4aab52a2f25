"""The number of packets that the host's firewall refused.

Telemetry has no right to read the firewall's counters. A systemd timer of root writes them to the file REFUSALS, as
`nft` prints them in JSON.
"""

import json
import time
from pathlib import Path

REFUSALS = Path("/run/trading-firewall/refusals.json")
WRITING_S = 5.0
"""A file that is younger than this and has no valid content may be in the middle of being written."""


def refused_packets(path: Path = REFUSALS, earlier: dict[str, int] | None = None) -> dict[str, int] | None:
    """Return a dictionary: reason → number of packets that the firewall refused since its rules were loaded.

    Return None without a firewall. While the file is being rewritten, `earlier` is returned: the result of the previous
    call. A file that stays empty means that the rules were removed, so None is returned.
    """
    try:
        entries = json.loads(path.read_bytes())["nftables"]
        counters = [entry["counter"] for entry in entries if "counter" in entry]
        return {str(counter["name"]): int(counter["packets"]) for counter in counters}
    except OSError:
        return None
    except (ValueError, KeyError, TypeError):
        return earlier if _age_s(path) < WRITING_S else None


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return WRITING_S
