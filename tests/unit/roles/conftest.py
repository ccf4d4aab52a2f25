"""The fixture `account`, an empty AWS account in moto, which the tests of plugins also use."""

from __future__ import annotations

from tests.unit.plugins.conftest import account

__all__ = ["account"]
