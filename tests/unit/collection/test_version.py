"""The collection and the engine in it have the same version."""

from __future__ import annotations

from pathlib import Path

import trading_engine
import yaml

ROOT = Path(__file__).parents[3]


def test_the_collections_version_is_the_engines() -> None:
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    assert galaxy["version"] == trading_engine.__version__
