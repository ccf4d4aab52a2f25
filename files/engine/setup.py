"""Adds the compiled variant: with TRADING_ENGINE_COMPILED=1 the core's modules are built by mypyc.

The same sources always make a pure wheel as well; mypy (which brings mypyc) and a C compiler are needed only for this.
"""

import os

from setuptools import setup

CORE = ("book", "terms", "account", "risk", "outputs", "expiry", "matching", "core")

extensions = []
if os.environ.get("TRADING_ENGINE_COMPILED") == "1":
    os.environ.setdefault("MYPYPATH", "src")
    from mypyc.build import mypycify

    extensions = mypycify(
        ["--config-file=", "--strict", *(f"src/trading_engine/{name}.py" for name in CORE)],
        opt_level="3",
        group_name="trading_engine_core",
    )

setup(ext_modules=extensions)
