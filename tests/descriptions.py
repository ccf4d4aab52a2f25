"""Lets all AWS clients of this process share the descriptions of AWS's services that boto3 reads from files.

Otherwise each new session of boto3 reads them again. This takes 0.1 seconds of CPU time and more for each client.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest
from botocore.loaders import JSONFileLoader

_load_file = JSONFileLoader.load_file


@functools.cache
def _loaded(path: str) -> Any:
    return _load_file(JSONFileLoader(), path)


def share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the end of the test, let new clients use the descriptions that are already loaded."""
    monkeypatch.setattr(JSONFileLoader, "load_file", lambda loader, path: _loaded(path))
