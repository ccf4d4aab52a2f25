"""Adds the compiled variant: with TRADING_ENGINE_COMPILED=1 the modules on an order's way are built by mypyc.

The same sources always make a pure wheel as well; mypy (which brings mypyc) and a C compiler are needed only for this.
"""

import importlib.machinery
import os
import sys
import sysconfig
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from setuptools import setup
from setuptools.command.build_ext import build_ext

# A turn for one order spends more time around the core (the second half of the engine's) than in it.
MODULES = {
    "trading_engine": ("engine",),
    "trading_engine/machine": ("book", "terms", "account", "risk", "outputs", "expiry", "matching", "core"),
    "trading_engine/host": ("clock", "timestamps"),
    "trading_engine/published": ("histogram", "stats", "garbage"),
    "trading_engine/storage": ("journal", "messagelog", "outbox", "recovery"),
    "trading_engine/clients": ("session", "connection", "gateway"),
    "trading_feed": ("log", "subscriber"),
    "trading_bench": ("flow", "generator", "witness"),
}  # fmt: skip


class SideBySide(build_ext):  # type: ignore[misc]  # setuptools has no types
    """Compiles the files of an extension side by side; distutils would take one after the other."""

    def build_extensions(self) -> None:
        compile_all, compile_one = self.compiler.compile, self.compiler._compile

        def compile_side_by_side(*arguments: Any, **named: Any) -> Any:
            with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
                jobs: list[Future[None]] = []
                self.compiler._compile = lambda *one: jobs.append(pool.submit(compile_one, *one))
                objects = compile_all(*arguments, **named)
            for job in jobs:
                job.result()
            return objects

        self.compiler.compile = compile_side_by_side
        super().build_extensions()


extensions = []
# Whoever builds a wheel asks for its metadata first, for which nothing has to be compiled.
if os.environ.get("TRADING_ENGINE_COMPILED") == "1" and not {"egg_info", "dist_info"} & set(sys.argv):
    os.environ.setdefault("MYPYPATH", "src")
    # mypyc writes it into the modules, and takes the first of those that the building Python itself loads.
    importlib.machinery.EXTENSION_SUFFIXES.insert(0, str(sysconfig.get_config_var("EXT_SUFFIX")))
    from mypyc.build import mypycify

    sources = [f"src/{package}/{name}.py" for package, names in MODULES.items() for name in names]
    extensions = mypycify(
        ["--config-file=", "--strict", *(path for path in sources if Path(path).is_file())],
        opt_level="2",  # 3 takes longer and the engine is not faster; 1 saves a third of the time and costs it 8 %
        debug_level="0",
        multi_file=True,
        group_name="trading_engine",
    )

setup(ext_modules=extensions, cmdclass={"build_ext": SideBySide})
