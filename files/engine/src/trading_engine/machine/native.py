"""Not compiled: mypyc would consider one of the branches unreachable.

The module provides the decorator `mypyc_attr`, which has a meaning only for the compiler mypyc. Hosts do not have the
package mypy_extensions, which contains it, so there a decorator without effect replaces it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr
else:

    def mypyc_attr(**_):
        return lambda native_class: native_class
