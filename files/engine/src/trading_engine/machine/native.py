"""Not compiled: mypyc would consider one of the branches unreachable.

It provides `mypyc_attr`, which only mypyc reads, also on hosts without compiled modules and mypy_extensions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr
else:

    def mypyc_attr(**_):
        return lambda native_class: native_class
