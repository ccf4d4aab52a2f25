"""The AWS modules' tests run modules as those of the other plugins do."""

from tests.unit.plugins.conftest import RunModule, run_module

__all__ = ["RunModule", "run_module"]
