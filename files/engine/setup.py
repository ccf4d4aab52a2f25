"""Adds the compiled variant: with TRADING_ENGINE_COMPILED=1 the modules that process orders are built by mypyc.

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

# A turn for one order spends more time around the core (the second half of the engine's) than in it, so whole rooms are
# compiled: all modules but those whose first line says that they are not, and why.
ROOMS = [f"trading_engine/{room}" for room in ("machine", "storage", "clients", "host", "published")]
SINGLE = {
    "trading_engine": ("engine",),
    "trading_feed": ("live", "log", "subscriber", "tail"),
    "trading_bench": ("flow", "generator", "witness"),
}
LEFT_OUT = "Not compiled: "


def sources() -> list[str]:
    """Return the files to compile."""
    found = [Path("src", package, f"{name}.py") for package, names in SINGLE.items() for name in names]
    for room in ROOMS:
        found += [path for path in sorted(Path("src", room).glob("*.py")) if path.name != "__init__.py"]
    present = [path for path in found if path.is_file()]
    return [str(path) for path in present if LEFT_OUT not in path.read_text(encoding="utf-8").partition("\n")[0]]


class SideBySide(build_ext):  # type: ignore[misc]  # setuptools has no types
    """Compiles the files of an extension in parallel; distutils would compile one after the other."""

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

    extensions = mypycify(
        ["--config-file=", "--strict", *sources()],
        opt_level="2",  # 3 takes longer and the engine is not faster; 1 saves a third of the time and costs it 8 %
        debug_level="0",
        multi_file=True,
        group_name="trading_engine",
    )

setup(ext_modules=extensions, cmdclass={"build_ext": SideBySide})
