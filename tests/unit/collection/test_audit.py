"""The audit's list of events on hosts and in the AWS account: at the terminal, as JSON, and as a page.

A text in an event never becomes markup of the page.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.filter.timeline import timeline, timeline_table

ROOT = Path(__file__).parents[3]
EVIL = "<script>alert('x')</script>\"'&{{ 7 * 7 }}"


def event(time: str, **other: Any) -> dict[str, Any]:
    return {"time": time, "kind": "login", "who": "anna", "what": "from 10.0.0.9", "count": 1, **other}


HOST = {
    "events": [event("2026-11-30T04:00:00Z", who=EVIL, what=EVIL), event("2026-11-29T04:00:00Z", count=3)],
    "notes": [f"the journal {EVIL}"],
}
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  roles: [lowlatency.trading.aws_audit]
"""


class Texts(HTMLParser):
    """An HTML parser that collects a page's text and the names of its elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.elements: set[str] = set()
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.text += f"{data}\n"

    def handle_starttag(self, tag: str, _attributes: object) -> None:
        self.elements.add(tag)


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Run the audit for two hosts. One has events, and the events of the other cannot be read.

    Return the folder with the reports, and the output.
    """
    folder = tmp_path_factory.mktemp("audit")
    (folder / "play.yml").write_text(PLAY)
    told = json.dumps(HOST).replace("{{", "{_{")  # a module marks its texts as no templates
    hosts = {"seen": {"hardening_events": json.loads(told)}, "unseen": {}}
    (folder / "hosts.json").write_text(json.dumps({"trading": {"hosts": hosts}}))
    given = {"aws_audit_cloudtrail": "false", "trading_report_dir": str(folder), "trading_environment": "demo"}
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    done = subprocess.run(
        [program, "-i", str(folder / "hosts.json"), str(folder / "play.yml"), "-e", json.dumps(given)],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections")},
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def test_the_page_shows_texts_of_others_as_texts(audited: tuple[Path, str]) -> None:
    page = Texts((audited[0] / "audit-demo.html").read_text())
    shown = EVIL.replace("{{", "{_{")
    assert page.text.count(shown) == 3
    assert "script" not in page.elements
    assert "unseen: nobody looked at this host" in page.text


def test_json_and_terminal_have_the_same_events_in_order(audited: tuple[Path, str]) -> None:
    found = json.loads((audited[0] / "audit-demo.json").read_text())
    assert [(row["time"], row["where"], row["count"]) for row in found["rows"]] == [
        ("2026-11-29T04:00:00Z", "seen", 3),
        ("2026-11-30T04:00:00Z", "seen", 1),
    ]
    assert "aws: not asked, since aws_audit_cloudtrail is false" in found["notes"]
    assert "2026-11-29T04:00:00Z  seen  login" in audited[1]
    assert "from 10.0.0.9 (3 times)" in audited[1]
    assert (audited[0] / "audit-demo.html").stat().st_mode & 0o777 == 0o600


def test_a_long_timeline_ends_with_the_newest_and_says_what_is_left_out() -> None:
    events = [event(f"2026-11-{day:02}T{hour:02}:00:00Z") for day in range(1, 21) for hour in range(24)]
    lines = timeline_table(timeline({"a": {"events": events}}))
    assert lines[0] == "280 earlier events are in the files only"
    assert lines[-1].startswith("2026-11-20T23:00:00Z")
    assert timeline_table(timeline({"a": {"notes": ["b"]}})) == ["nothing happened", "a: b"]
