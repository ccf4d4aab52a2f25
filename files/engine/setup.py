"""Adds the compiled variant: with TRADING_ENGINE_COMPILED=1 the modules on an order's way are built by mypyc.

The same sources always make a pure wheel as well; mypy (which brings mypyc) and a C compiler are needed only for this.
"""

import os
from pathlib import Path

from setuptools import setup

# A turn for one order spends more time around the core (the second half of the engine's) than in it.
MODULES = {
    "trading_engine": (
        "book", "terms", "account", "risk", "outputs", "expiry", "matching", "core",
        "clock", "histogram", "timestamps", "stats", "garbage", "journal", "messagelog", "outbox", "recovery", "engine",
        "session", "connection", "gateway",
    ),
    "trading_feed": ("log", "subscriber"),
    "trading_bench": ("flow", "generator", "witness"),
}  # fmt: skip

extensions = []
if os.environ.get("TRADING_ENGINE_COMPILED") == "1":
    os.environ.setdefault("MYPYPATH", "src")
    from mypyc.build import mypycify

    sources = [f"src/{package}/{name}.py" for package, names in MODULES.items() for name in names]
    extensions = mypycify(
        ["--config-file=", "--strict", *(path for path in sources if Path(path).is_file())],
        opt_level="3",
        group_name="trading_engine",
    )

setup(ext_modules=extensions)
