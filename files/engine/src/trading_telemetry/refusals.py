"""The packets that the host's firewall refused.

A root timer writes the file, because telemetry may not ask the kernel.
"""

import json
import time
from pathlib import Path

REFUSALS = Path("/run/trading-firewall/refusals.json")
WRITING_S = 5.0


def refused_packets(path: Path = REFUSALS, earlier: dict[str, int] | None = None) -> dict[str, int] | None:
    """Return packets refused since the rules were loaded, by reason; None without a firewall.

    While the file is being rewritten, its previous content counts. A file that stays empty says that the kernel has no
    such rules any more.
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
