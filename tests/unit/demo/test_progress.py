"""The demo's Ansible callback prints the progress of a play. The tests run a good play, and one that fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PLAYBOOK = """
- name: Ask for the settings that are missing
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Ask for a number
      ansible.builtin.debug:
      when: false
- name: Make it
  hosts: localhost
  gather_facts: false
  pre_tasks:
    - name: Do what is not worth a line
      ansible.builtin.debug:
    - name: Check what is given
      ansible.builtin.import_role: {name: two, tasks_from: check}
  roles: [one, two]
  tasks:
    - name: Check what has come of it
      ansible.builtin.include_role: {name: two, tasks_from: check}
- name: Report
  hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: two, tasks_from: check}
"""
ONE = """
- name: First | Rescue a failure
  block:
    - ansible.builtin.fail: {msg: rescued}
  rescue:
    - ansible.builtin.include_role: {name: two}
- name: First | Ignore a failure
  ansible.builtin.fail: {msg: ignored}
  ignore_errors: true
- name: First | Fail when asked
  ansible.builtin.assert:
    that: item != 2
    fail_msg: "{{ item }} is too much\\nby far"
  loop: [1, 2]
  when: fails | default(false)
"""
CHECK = """
- name: Check | Look
  ansible.builtin.debug:
"""
TWO = """
- name: Second | Do something
  ansible.builtin.debug:
"""


def play(folder: Path, *arguments: str) -> tuple[int, list[str], Path]:
    for name, tasks in (("one", ONE), ("two", TWO)):
        (folder / f"roles/{name}/tasks").mkdir(parents=True)
        (folder / f"roles/{name}/tasks/main.yml").write_text(tasks)
    (folder / "roles/two/tasks/check.yml").write_text(CHECK)
    (folder / "play.yml").write_text(PLAYBOOK)
    failure = folder / "failure"
    reader, writer = os.pipe()
    environment = {
        **os.environ,
        "ANSIBLE_CALLBACKS_ENABLED": "demo_progress",
        "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "scripts/callback_plugins"),
        "ANSIBLE_HOME": str(folder),
        "DEMO_EVENTS": str(writer),
        "DEMO_FAILURE": str(failure),
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local", "play.yml"]
    done = subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, pass_fds=[writer], capture_output=True, check=False
    )
    os.close(writer)
    with os.fdopen(reader) as told:
        return done.returncode, told.read().splitlines(), failure


def test_a_play_is_told_by_the_roles_that_it_runs_whole(tmp_path: Path) -> None:
    status, told, failure = play(tmp_path)
    assert status == 0
    assert [line for line in told if not line.startswith("detail ")] == ["heading Make it", "part one", "part two"]
    assert told.count("detail Check | Look") == 3
    assert not failure.exists()


def test_what_made_a_play_fail_is_said_and_nothing_else(tmp_path: Path) -> None:
    status, _told, failure = play(tmp_path, "-e", '{"fails": true}')
    assert status == 2
    assert failure.read_text() == "localhost: one : First | Fail when asked\n  2 is too much\n  by far\n"
