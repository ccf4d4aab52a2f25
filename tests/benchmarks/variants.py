"""The engine's two variants: "pure", which runs from its sources, and "compiled", which mypyc builds from them."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

from tests.collected_wheels import CACHE as WHEELS
from tests.collected_wheels import collect

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "files" / "engine" / "src"
PACKAGES = ("trading_engine", "trading_feed", "trading_bench")
_KEPT = 5
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lowlatency.trading"


def path_of(variant: str) -> Path:
    """Return the directory that PYTHONPATH must contain for the variant, "pure" or "compiled"."""
    return SOURCES if variant == "pure" else compiled()


def environment(variant: str) -> dict[str, str]:
    """Return the environment variables for a process that runs the variant."""
    paths = [str(path_of(variant)), str(ROOT), str(CACHE / "bench-reference")]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), "PYTHONPYCACHEPREFIX": str(CACHE / "bytecode")}


def confirmed(variant: str) -> str:
    """Start a process of the variant and check which variant it really runs.

    Return the variant. Raises AssertionError when the process runs the other variant.
    """
    command = [sys.executable, "-c", "from trading_engine.machine.version import is_compiled; print(is_compiled())"]
    said = subprocess.run(command, env=environment(variant), stdout=subprocess.PIPE, text=True, check=True).stdout
    assert said.strip() == str(variant == "compiled"), f"{variant}: is_compiled() says {said}"
    return variant


def compiled() -> Path:
    """Return the directory of the compiled variant. Build it when the sources have changed."""
    engine = ROOT / "files" / "engine"
    content = hashlib.sha256(sysconfig.get_platform().encode() + sys.version.encode())
    compilable = [path for name in PACKAGES for path in SOURCES.joinpath(name).rglob("*.py")]
    for path in sorted([engine / "setup.py", engine / "pyproject.toml", *compilable]):
        content.update(path.read_bytes())
    target = CACHE / f"compiled-{content.hexdigest()[:16]}"
    if not target.exists():
        print("building the compiled variant (once for each change of the sources)", file=sys.stderr)
        CACHE.mkdir(parents=True, exist_ok=True)
        # Several builds are kept, because other clones of this repository may use one of them at the same time.
        for old in sorted(CACHE.glob("compiled-*"), key=_used_s)[: -(_KEPT - 1)]:
            shutil.rmtree(old, ignore_errors=True)  # another clone may delete it as well
        with tempfile.TemporaryDirectory(dir=CACHE) as work:
            unpack(engine, Path(work), target)
    os.utime(target)
    return target


def _used_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # deleted meanwhile
        return 0.0


def unpack(engine: Path, work: Path, target: Path) -> None:
    """Build a release as the role does, or use a cached release. Unpack its compiled wheel to `target`."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    kind = {"python_version": version, "architecture": platform.machine(), "compiled": "always"}
    made = collect(project=str(engine), cache_dir=str(WHEELS), **kind)
    with tarfile.open(made["archive"]) as release:
        (name,) = (name for name in release.getnames() if name.startswith("trading_engine-") and "-none-" not in name)
        wheel = release.extractfile(name)
        assert wheel is not None
        (work / name).write_bytes(wheel.read())
    shutil.unpack_archive(work / name, work / "tree", "zip")
    (work / "tree").rename(target)
