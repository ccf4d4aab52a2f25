"""Not compiled: mypyc would take one of the branches for unreachable.

`mypyc_attr`, which only mypyc reads, for hosts where nothing is compiled and mypy_extensions is not installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr
else:

    def mypyc_attr(**_):
        return lambda native_class: native_class
