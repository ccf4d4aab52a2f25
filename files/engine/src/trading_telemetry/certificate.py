"""When the certificate of the TLS proxy ends, as the role that installs it writes it down."""

from datetime import datetime
from pathlib import Path

NOT_AFTER = Path("/etc/trading/tls/not_after")


def certificate_end_s(path: Path = NOT_AFTER) -> float | None:
    """Return seconds since the epoch; None where there is no TLS proxy, or nobody knows."""
    try:
        return datetime.fromisoformat(path.read_text(encoding="ascii").strip()).timestamp()
    except (OSError, ValueError):
        return None
