"""The role readiness succeeds only when every line of the checklist is met. Its reports contain every line.

A text from a host never becomes markup of a report.
"""

from __future__ import annotations

import json
import os
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
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  roles: [lowlatency.trading.readiness]
"""


@dataclass
class Run:
    """The result of a run of the role: its exit status, its output, and the folder with its reports."""

    code: int
    output: str
    reports: Path

    def text(self, suffix: str) -> str:
        return (self.reports / f"demo.{suffix}").read_text(encoding="utf-8")


def judge(folder: Path, host: dict[str, Any], **variables: object) -> Run:
    """Run the role for a host with these readings, and return the result."""
    of_account = ("network", "topic", "cost")
    kept = {f"{'aws' if name in of_account else '_'}_readiness_{name}": one for name, one in ENVIRONMENT.items()}
    hosts = {"demo-1": {"readiness_readings": host}}
    inventory = {"all": {"hosts": {"localhost": kept}, "children": {"trading": {"hosts": hosts}}}}
    (folder / "hosts.json").write_text(json.dumps(inventory))
    (folder / "play.yml").write_text(PLAY)
    given = {"trading_report_dir": str(folder), "trading_environment": "demo", **variables}
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "hosts.json", "play.yml", "-e", json.dumps(given)],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections")},
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip
    return Run(done.returncode, done.stdout + done.stderr, folder / "readiness")


@pytest.fixture(scope="module")
def open_lines(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run the role for a host with one failed service, and with one line that was not checked.

    The failed service's text looks like markup.
    """
    state = {**HOST["state"], "units": {**HOST["state"]["units"], "a.service": EVIL}}
    host = {**HOST, "state": state, "killed": {"problem": "it disturbs"}}
    return judge(tmp_path_factory.mktemp("open"), host, readiness_accepted=["killed", "alarm"])


def test_what_failed_ends_the_run_whatever_is_accepted(open_lines: Run) -> None:
    assert open_lines.code != 0
    assert "demo is not ready: 1 failed: services of demo-1" in open_lines.output
    assert '"21 met, 1 failed, 1 not done"' in open_lines.output


def test_the_reports_hold_every_line(open_lines: Run) -> None:
    found = json.loads(open_lines.text("json"))
    assert [line["id"] for line in found["lines"]] == IDS
    assert found["ready"] is False
    (suite,) = ElementTree.fromstring(open_lines.text("xml"))  # noqa: S314  our own file
    assert Counter(child.tag for case in suite for child in case) == {"system-out": 21, "failure": 1, "skipped": 1}
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("23", "1", "1")
    (failure,) = suite.iter("failure")
    assert failure.get("message") == f"a.service is {EVIL}"
    page = Texts(open_lines.text("html"))
    assert f"a.service is {EVIL}" in page.text
    assert page.elements >= {"table", "svg", "rect"}
    assert not page.elements & {"script", "link", "img"}
    assert all(line["question"] in page.text for line in yaml.safe_load((ROOT / "files/readiness.yml").read_text()))
    assert (open_lines.reports / "demo.html").stat().st_mode & 0o777 == 0o600


def test_an_environment_whose_lines_are_met_is_ready(tmp_path: Path) -> None:
    ready = judge(tmp_path, HOST)
    assert ready.code == 0, ready.output
    assert json.loads(ready.text("json"))["ready"] is True


def test_what_is_not_done_ends_the_run_unless_it_is_accepted(tmp_path: Path) -> None:
    host = {**HOST, "killed": {"problem": "it disturbs"}}
    refused = judge(tmp_path, host)
    assert refused.code != 0
    assert "demo is not ready: 1 not done: killed of demo-1" in refused.output
    accepted = judge(tmp_path, host, readiness_accepted=["killed"])
    assert accepted.code == 0, accepted.output
    assert '"22 met, 0 failed, 1 not done"' in accepted.output


def test_a_line_that_does_not_exist_cannot_be_accepted(tmp_path: Path) -> None:
    refused = judge(tmp_path, HOST, readiness_accepted=["kiled"])
    assert refused.code != 0
    assert "readiness_accepted: there is no line kiled" in refused.output


def test_the_newest_report_of_each_partition_is_kept_and_one_archive_of_the_host(tmp_path: Path) -> None:
    (tmp_path / "demo-1-beta.json").write_text('{"verdict": []}', encoding="utf-8")
    partitions = [{"name": "alpha", "symbols": ["TEST"]}, {"name": "beta", "symbols": ["MSFT"]}]
    content = "{{ [__readiness_kept_reports, __readiness_archive] | to_json }}"
    show = {"dest": str(tmp_path / "kept.json"), "content": content}
    play = {
        "hosts": "trading",
        "gather_facts": False,
        "vars_files": [f"{ROOT}/roles/readiness/{part}/main.yml" for part in ("defaults", "vars")],
        "tasks": [
            {"name": "Look", "ansible.builtin.include_tasks": f"{ROOT}/roles/readiness/tasks/kept.yml"},
            {"name": "Look again", "ansible.builtin.include_tasks": f"{ROOT}/roles/readiness/tasks/kept.yml"},
            {"name": "Show", "ansible.builtin.copy": show},
        ],
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]), encoding="utf-8")
    hosts = {"demo-1": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}}
    (tmp_path / "hosts.json").write_text(json.dumps({"trading": {"hosts": hosts}}), encoding="utf-8")
    given = {"trading_report_dir": str(tmp_path), "trading_backup_dir": str(tmp_path), "trading_partitions": partitions}
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "hosts.json", "play.yml", "-e", json.dumps(given)],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections")},
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (alpha, beta), archive = json.loads((tmp_path / "kept.json").read_text(encoding="utf-8"))
    assert (alpha["exists"], beta["exists"], beta["text"]) == (False, True, '{"verdict": []}')
    assert archive["path"] == f"{tmp_path}/demo-1.tar.gz"
    assert archive["exists"] is False
