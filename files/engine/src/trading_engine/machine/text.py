"""Which bytes are text: what a client calls an order is printed in logs and sent to others' programs."""

from __future__ import annotations

import re
from typing import Final

_NO_CONTROL: Final = re.compile(rb"[ -~\xa0-\xff]*").fullmatch


def is_text(field: bytes) -> bool:
    """Return whether no control character of ISO 8859-1 is in it; the cheaper question knows the most of them."""
    return field.rstrip(b" ").isalnum() or _NO_CONTROL(field) is not None
