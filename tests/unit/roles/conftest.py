"""Provides the fixture `account`, an empty AWS account in moto. The tests of plugins use it as well."""

from __future__ import annotations

from tests.unit.plugins.conftest import account

__all__ = ["account"]
