"""Adds the compiled variant: with TRADING_ENGINE_COMPILED=1 the modules on an order's way are built by mypyc.

The same sources always make a pure wheel as well; mypy (which brings mypyc) and a C compiler are needed only for this.
"""

import os

from setuptools import setup

CORE = ("book", "terms", "account", "risk", "outputs", "expiry", "matching", "core")
# A turn for one order spends more time around the core than in it.
AROUND = (
    "clock", "histogram", "timestamps", "stats", "garbage", "journal", "messagelog", "outbox", "recovery", "engine",
    "session", "connection", "gateway",
)  # fmt: skip

extensions = []
if os.environ.get("TRADING_ENGINE_COMPILED") == "1":
    os.environ.setdefault("MYPYPATH", "src")
    from mypyc.build import mypycify

    extensions = mypycify(
        ["--config-file=", "--strict", *(f"src/trading_engine/{name}.py" for name in CORE + AROUND)],
        opt_level="3",
        group_name="trading_engine",
    )

setup(ext_modules=extensions)
