"""Faults are planted one after the other on a deployed host, and the diagnosis names each of them first.

The scenario trading_engine plants and judges them (extensions/molecule/trading_engine/vars/faults.yml); in scripts/test
it plants the first of them only.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import yaml

from tests.proofs.evidence import ROOT, Evidence

_FAULTS = ROOT / "extensions/molecule/trading_engine/vars/faults.yml"
_SOURCES = (ROOT / "plugins/module_utils/diagnosis", ROOT / "plugins/filter", ROOT / "roles/trading_engine")


def prove(hosts: int) -> Path:
    """Return the record of that many hosts; raises AssertionError when another cause was named first."""
    evidence = Evidence("diagnosis", hosts, _SOURCES)
    faults = yaml.safe_load(_FAULTS.read_text(encoding="utf-8"))["faults"]
    while evidence.done < hosts:
        command = [str(ROOT / "scripts/test"), "molecule", "trading_engine"]
        done = subprocess.run(command, env={**os.environ, "TRADING_FAULTS": "all"}, check=False)
        assert done.returncode == 0, "the scenario failed: its output says where"
        evidence.add([{"symptom": fault["symptom"], "named_first": fault["cause"]} for fault in faults])
    return evidence.finish({"hosts": hosts, "faults": evidence.results[0]})
