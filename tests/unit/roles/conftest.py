"""The account for the tests of roles: the same fixture as for the tests of plugins."""

from __future__ import annotations

from tests.unit.plugins.conftest import account

__all__ = ["account"]
