"""What an account is for the tests of roles, it is for those of the plugins."""

from __future__ import annotations

from tests.unit.plugins.conftest import account

__all__ = ["account"]
