"""Each play, task, block and handler has an imperative sentence as its name, such as `Load | Send test orders`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
PATTERNS = [
    "site.yml",
    "playbooks/*.yml",
    "roles/*/tasks/*.yml",
    "roles/*/handlers/*.yml",
    "extensions/molecule/**/*.yml",
]
# Only a file that contains a list has plays or tasks. Other files have variables, or settings of Molecule.
FILES = [
    path
    for pattern in PATTERNS
    for path in sorted(ROOT.glob(pattern))
    if isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), list)
]
TASK_LISTS = ("pre_tasks", "tasks", "post_tasks", "handlers", "block", "rescue", "always")
PREFIX = re.compile(r"[A-Z]\w*( \w+)* \| (?=\S)")
LONGEST = 80
# A sentence that begins with one of these words is not imperative.
DECLARATIVE = {
    *("it", "they", "there", "what", "whether", "such", "its", "their", "the", "a", "an", "this", "these"),
    *("no", "nothing", "each", "every", "all"),
}


def named_things(entries: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the plays, tasks, blocks and handlers of a file. Those inside of others are included."""
    for entry in entries:
        yield entry
        for key in TASK_LISTS:
            yield from named_things(entry.get(key) or [])


def faults(entries: list[dict[str, Any]], prefixed: bool) -> list[str]:
    """Return what is wrong with the names in one file. With `prefixed`, names must begin with the file's name."""
    return [
        f"{name!r} {fault}"
        for name in (str(entry.get("name") or "") for entry in named_things(entries))
        for fault in faults_of(name, prefixed)
    ]


def faults_of(name: str, prefixed: bool) -> Iterator[str]:
    if not name:
        yield "is no name"
        return
    prefix = PREFIX.match(name)
    if prefixed and not prefix:
        yield "has no prefix 'File | '"
    sentence = name[prefix.end() if prefix else 0 :]
    first = re.match(r"\w*", sentence)
    if first and first[0].lower() in DECLARATIVE:
        yield f"begins with {first[0]}, which is no verb"
    if name.endswith("."):
        yield "ends in a full stop"
    if len(name) > LONGEST:
        yield f"has {len(name)} columns, more than {LONGEST}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_are_imperative_sentences_of_one_line(path: Path) -> None:
    prefixed = path.match("roles/*/tasks/*.yml")
    assert faults(yaml.safe_load(path.read_text(encoding="utf-8")), prefixed) == []


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.match("roles/*/tasks/*.yml") and path.stem != "main"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_roles_task_begins_with_its_files_name(path: Path) -> None:
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    prefixes = {str(entry["name"]).partition(" | ")[0] for entry in named_things(entries)}
    assert {prefix.lower().replace(" ", "_") for prefix in prefixes} == {path.stem}


def test_every_kind_of_file_is_looked_at() -> None:
    looked_at = {str(path.relative_to(ROOT)) for path in FILES}
    assert looked_at >= {
        "site.yml",
        "playbooks/ask.yml",
        "roles/os_tuning/handlers/main.yml",
        "roles/trading_engine/tasks/restore.yml",
        "extensions/molecule/shared/create.yml",
        "extensions/molecule/trading_engine/tasks/restart.yml",
    }


@pytest.mark.parametrize("name", ["Load | Send test orders", "Key pair | Itemise the keys", "Os_tuning | Allow IPv6"])
def test_a_good_name_passes(name: str) -> None:
    assert faults([{"name": name}], prefixed=True) == []


def test_a_name_needs_no_prefix_outside_of_a_roles_tasks() -> None:
    assert faults([{"name": "Send test orders"}], prefixed=False) == []


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        *[(f"Load | {word.capitalize()} orders sent", "which is no verb") for word in sorted(DECLARATIVE)],
        ("Load | It's put on", "begins with It"),
        ("It is put on", "begins with It"),
        ("Load | Send test orders.", "full stop"),
        ("Load | Send " + "x" * 69, "81 columns"),
        ("Send test orders", "no prefix"),
        ("Load |", "no prefix"),
        ("load | Send test orders", "no prefix"),
        ("", "is no name"),
    ],
)
def test_a_bad_name_is_found(name: str, fault: str) -> None:
    (found,) = {one for one in faults([{"name": name}], prefixed=True) if fault in one}
    assert name in found


def test_a_task_without_a_name_is_found() -> None:
    assert faults([{"ansible.builtin.meta": "end_play"}], prefixed=True) == ["'' is no name"]


@pytest.mark.parametrize("where", TASK_LISTS)
def test_a_bad_name_is_found_wherever_it_is_nested(where: str) -> None:
    entries = [{"name": "Send orders", "block": [{"name": "Send them", where: [{"name": "It is sent"}]}]}]
    assert len(faults(entries, prefixed=False)) == 1
