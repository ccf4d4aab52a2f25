"""The claims that an acceptance run checks. An acceptance run is a run of playbooks/acceptance.yml.

Each claim has an expectation about a step of the run. Each step has a playbook.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from ansible_collections.lowlatency.trading.plugins.filter.evidence import COMPARISONS, expectation

from .templates import ROOT

CLAIMS = yaml.safe_load((ROOT / "files/acceptance.yml").read_text(encoding="utf-8"))
VARIABLES_TEXT = (ROOT / "roles/acceptance/vars/main.yml").read_text(encoding="utf-8")
VARIABLES = yaml.safe_load(VARIABLES_TEXT)
STEPS = {one["name"]: one for one in VARIABLES["__acceptance_steps"] + VARIABLES["__acceptance_removal"]}
TASKS = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "roles").glob("*/tasks/*.yml"))


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim["id"])
def test_a_claim_says_what_is_expected_of_a_step_that_shows_it(claim: dict[str, Any]) -> None:
    assert set(claim) <= {"id", "claim", "step", "expected", "task", "by_outcome", "anywhere", "unit"}
    ((kind, _),) = claim["expected"].items()
    assert kind in COMPARISONS
    assert expectation(claim)
    assert claim["step"] in STEPS
    if "task" in claim:
        assert f"name: {claim['task']}\n" in TASKS
    elif not claim.get("by_outcome") and claim["id"] not in ("iam-denials", "promise"):
        noted = claim["id"].removesuffix("-cpus")
        where = re.findall(r"acceptance_claim: ([\w-]+)", VARIABLES_TEXT)
        part = ROOT / f"roles/acceptance/tasks/{STEPS[claim['step']].get('part')}.yml"
        assert noted in where or f"      {claim['id']}:" in part.read_text(encoding="utf-8")


def test_no_two_claims_have_one_id() -> None:
    assert len({claim["id"] for claim in CLAIMS}) == len(CLAIMS)


def test_every_step_has_its_playbook_and_its_part() -> None:
    for step in STEPS.values():
        assert (ROOT / f"playbooks/{step['playbook']}.yml").exists(), step
        assert "part" not in step or (ROOT / f"roles/acceptance/tasks/{step['part']}.yml").exists(), step
