"""The check of texts from clients. Such texts are written to logs, and sent to the programs of other participants."""

from __future__ import annotations

import re
from typing import Final

_NO_CONTROL: Final = re.compile(rb"[ -~\xa0-\xff]*").fullmatch


def is_text(field: bytes) -> bool:
    """Return whether the text has no control character of the character set ISO 8859-1.

    The function has two tests. The first is faster, and most texts pass it.
    """
    return field.rstrip(b" ").isalnum() or _NO_CONTROL(field) is not None
