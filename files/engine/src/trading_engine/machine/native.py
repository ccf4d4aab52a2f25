"""`mypyc_attr`, which only mypyc reads, for hosts where nothing is compiled and mypy_extensions is not installed.

This module is not compiled: mypyc takes the other branch for unreachable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr
else:

    def mypyc_attr(**_):
        return lambda native_class: native_class
