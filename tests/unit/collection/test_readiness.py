"""The role readiness succeeds only when every line of the checklist is met. Its reports contain every line.

A text from a host never becomes markup of a report.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from tests.unit.collection.test_audit import Texts
from tests.unit.plugins.test_readiness import ENVIRONMENT, HOST, IDS

ROOT = Path(__file__).parents[3]
EVIL = "<script>alert('x')</script>\"'&"
# With a problem, a line was not checked.
NOT_CHECKED = {**HOST, "killed": {"problem": "it disturbs"}}
# Its text looks like markup.
BROKEN_UNIT = {**HOST["state"], "units": {**HOST["state"]["units"], "a.service": EVIL}}
# Each case is the only trading host of an environment that has its name. Reports are written of the first one only.
OPEN = {"readiness_readings": {**NOT_CHECKED, "state": BROKEN_UNIT}, "readiness_accepted": ["killed", "alarm"]}
CASES: dict[str, dict[str, Any]] = {
    "refused": {"readiness_readings": NOT_CHECKED},
    "accepted": {"readiness_readings": NOT_CHECKED, "readiness_accepted": ["killed"]},
    "misspelt": {"readiness_readings": HOST, "readiness_accepted": ["kiled"]},
}
PARTITIONS = [{"name": "alpha", "symbols": ["TEST"]}, {"name": "beta", "symbols": ["MSFT"]}]
ROLE = "lowlatency.trading.readiness"


@dataclass
class Run:
    """The result of a run of the role: its output, the hosts on which it failed, and the folder with its reports."""

    output: str
    failed: set[str]
    folder: Path

    def text(self, environment: str, suffix: str) -> str:
        return (self.folder / f"readiness/{environment}.{suffix}").read_text(encoding="utf-8")


def plays() -> list[dict[str, Any]]:
    """Return four plays, which run one after the other.

    The first runs the role for an environment. The second prints which reports and archives the controller keeps. The
    third computes the checklist for each host in CASES. It leaves out the tasks that write reports, because these take
    longest. The fourth runs the role for a host with the variables in OPEN.
    """
    content = "{{ {'reports': __readiness_kept_reports, 'archive': __readiness_archive} }}"
    kept = {"ansible.builtin.include_tasks": f"{ROOT}/roles/readiness/tasks/kept.yml"}
    looks = [
        {"name": "Look", **kept},
        {"name": "Look again", **kept},
        {"name": "Show", "ansible.builtin.debug": {"msg": content}},
    ]
    files = [f"{ROOT}/roles/readiness/{part}/main.yml" for part in ("defaults", "vars")]
    alone = {"trading_environment": "{{ inventory_hostname }}", "__readiness_hosts": ["{{ inventory_hostname }}"]}
    tasks = yaml.safe_load((ROOT / "roles/readiness/tasks/main.yml").read_text(encoding="utf-8"))
    judges = [task for task in tasks if not {"ansible.builtin.file", "ansible.builtin.template"} & set(task)]
    assert len(judges) == len(tasks) - 2
    of_role = yaml.safe_load((ROOT / "roles/readiness/vars/main.yml").read_text(encoding="utf-8"))
    judging = of_role | alone | {"role_path": f"{ROOT}/roles/readiness"}
    return [
        {"hosts": "localhost", "roles": [ROLE], "vars": {"trading_environment": "demo"}},
        {"hosts": "trading", "vars_files": files, "tasks": looks, "vars": {"trading_partitions": PARTITIONS}},
        {"hosts": "cases", "tasks": [{"block": judges, "vars": judging}]},
        {"hosts": "reported", "roles": [{"role": ROLE, "vars": alone}]},
    ]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run the role for all cases in one run of Ansible. All hosts are this machine."""
    folder = tmp_path_factory.mktemp("readiness")
    (folder / "demo-1-beta.json").write_text('{"verdict": []}', encoding="utf-8")
    environment = {
        f"{'aws' if name in ('network', 'topic', 'cost') else '_'}_readiness_{name}": readings
        for name, readings in ENVIRONMENT.items()
    }
    defaults = yaml.safe_load((ROOT / "roles/readiness/defaults/main.yml").read_text(encoding="utf-8"))
    groups = {
        "trading": {"hosts": {"demo-1": {"readiness_readings": HOST}}},
        "reported": {"hosts": {"open": {**environment, **OPEN}}},
        "cases": {"hosts": {name: {**defaults, **environment, **variables} for name, variables in CASES.items()}},
    }
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory = {"all": {"hosts": {"localhost": environment}, "children": groups, "vars": local}}
    (folder / "hosts.json").write_text(json.dumps(inventory), encoding="utf-8")
    written = [{"gather_facts": False, **play} for play in plays()]
    (folder / "plays.yml").write_text(yaml.safe_dump(written), encoding="utf-8")
    given = {"trading_report_dir": str(folder), "trading_backup_dir": str(folder)}
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "hosts.json", "plays.yml", "-e", json.dumps(given)],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    counted = re.findall(r"^(\S+) +: .* failed=(\d+)", done.stdout.partition("PLAY RECAP")[2], flags=re.MULTILINE)
    assert {host for host, _ in counted} == {"localhost", "demo-1", "open", *CASES}, done.stdout
    return Run(done.stdout + done.stderr, {host for host, failures in counted if failures != "0"}, folder)


def test_what_failed_ends_the_run_whatever_is_accepted(ran: Run) -> None:
    assert "open" in ran.failed
    assert "open is not ready: 1 failed: services of open" in ran.output
    assert '"21 met, 1 failed, 1 not done"' in ran.output


def test_the_reports_hold_every_line(ran: Run) -> None:
    found = json.loads(ran.text("open", "json"))
    assert [line["id"] for line in found["lines"]] == IDS
    assert found["ready"] is False
    (suite,) = ElementTree.fromstring(ran.text("open", "xml"))  # noqa: S314  our own file
    assert Counter(child.tag for case in suite for child in case) == {"system-out": 21, "failure": 1, "skipped": 1}
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("23", "1", "1")
    (failure,) = suite.iter("failure")
    assert failure.get("message") == f"a.service is {EVIL}"
    page = Texts(ran.text("open", "html"))
    assert f"a.service is {EVIL}" in page.text
    assert page.elements >= {"table", "svg", "rect"}
    assert not page.elements & {"script", "link", "img"}
    assert all(line["question"] in page.text for line in yaml.safe_load((ROOT / "files/readiness.yml").read_text()))
    assert (ran.folder / "readiness/open.html").stat().st_mode & 0o777 == 0o600


def test_an_environment_whose_lines_are_met_is_ready(ran: Run) -> None:
    assert "localhost" not in ran.failed, ran.output
    assert json.loads(ran.text("demo", "json"))["ready"] is True


def test_what_is_not_done_ends_the_run_unless_it_is_accepted(ran: Run) -> None:
    assert "refused" in ran.failed
    assert "refused is not ready: 1 not done: killed of refused" in ran.output
    assert "accepted" not in ran.failed, ran.output
    assert '"22 met, 0 failed, 1 not done"' in ran.output


def test_a_line_that_does_not_exist_cannot_be_accepted(ran: Run) -> None:
    assert "misspelt" in ran.failed
    assert "readiness_accepted: there is no line kiled" in ran.output


def test_the_newest_report_of_each_partition_is_kept_and_one_archive_of_the_host(ran: Run) -> None:
    assert "demo-1" not in ran.failed, ran.output
    (shown,) = re.findall(r"^ok: \[demo-1\] => (\{$.*?^\})", ran.output, flags=re.MULTILINE | re.DOTALL)
    kept = json.loads(shown)["msg"]
    (alpha, beta), archive = kept["reports"], kept["archive"]
    assert (alpha["exists"], beta["exists"], beta["text"]) == (False, True, '{"verdict": []}')
    assert archive["path"] == f"{ran.folder}/demo-1.tar.gz"
    assert archive["exists"] is False
