# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that observe, plan and write values of the kernel or a network card, so that they can be restored later.

`plan` takes values and returns the writes to make. `apply` makes them, reads the values back, and gives each value one
of the outcomes of `STATUSES`.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

from ansible_collections.lowlatency.trading.plugins.module_utils.tuning import kernelfs
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.errors import TuningError
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.undo import Record, Rejection, Touch

STATUSES = {
    "applied": "set now, and read back",
    "already": "in force before",
    "not_applicable": "this host has nothing to set, or it was vetoed",
    "no_op": "the kernel took the value and ignored it",
    "refused": "the kernel, or this collection, said no",
    "restored": "no longer wanted; set back to what it was before tuning",
    "kept": "no longer wanted, but somebody else changed it since; left as it is",
}


class Store(Protocol):
    """A place where values are read and written: the kernel's files, or a network card's settings."""

    def read(self, path: str) -> str | None:
        """Return the present value, or None when there is none."""

    def write(self, path: str, value: str) -> None:
        """Write the value. Raises kernelfs.RefusedError when the kernel refuses it."""

    def refusal(self, path: str) -> str:
        """Return why a write would be refused, or an empty text when that is not known before the write."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """One wanted value. If `only_raise` is true, a number that is already higher than the wanted one stays."""

    name: str
    path: str
    value: str
    only_raise: bool = False


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of one value. `before` is the value that this run found, `previous` the value before any tuning."""

    name: str
    status: str
    value: str = ""
    before: str = ""
    previous: str = ""
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Step:
    """One write of a plan. After the write, `path` is read to see the result.

    `write_path` is the file to write. It differs from `path` when the kernel restores a value only by a write to a
    related file.
    """

    name: str
    path: str
    before: str
    value: str
    write_path: str
    write_value: str
    touch: Touch
    earlier_touch: Touch | None
    restoring: bool = False


@dataclasses.dataclass(frozen=True)
class Plan:
    """The outcomes that need no write, the writes to make, and the record to save before the first write."""

    outcomes: list[Outcome]
    steps: list[Step]
    record: Record


def observe(store: Store, settings: list[Setting], record: Record) -> dict[str, str | None]:
    """Return the present value, in comparable form, of each path that is wanted or that an earlier run changed."""
    paths = {setting.path for setting in settings}
    paths.update(touch.path for touch in record.touched.values())
    paths.update([twin for twin in map(twin_of, paths) if twin])
    return {path: store.read(path) for path in paths}


def plan(settings: list[Setting], live: dict[str, str | None], record: Record, force: bool = False) -> Plan:
    """Return the writes that set the wanted values, and the writes that restore values which are not wanted any more.

    `force` also restores values that somebody else has changed after tuning. Raises TuningError when a value that may
    only be raised is no number.
    """
    planned = Plan([], [], record.copy())
    wanted = {setting.name for setting in settings}
    for name, touch in record.touched.items():
        if name not in wanted:
            _plan_return(planned, name, touch, live.get(touch.path), force)
    for setting in settings:
        _plan_setting(planned, setting, live)
    to_write = {step.name for step in planned.steps}
    planned.record.rejected = {name: entry for name, entry in record.rejected.items() if name in to_write}
    return planned


def _plan_return(planned: Plan, name: str, touch: Touch, current: str | None, force: bool) -> None:
    if current is None or current == touch.previous:
        del planned.record.touched[name]
    elif current == touch.ours or force:
        planned.steps.append(
            Step(name, touch.path, current, touch.previous, touch.restore_path, touch.restore_value, touch, touch, True)
        )
    else:
        reason = f"is {current}, tuning made it {touch.ours}, before that it was {touch.previous}; force restores that"
        planned.outcomes.append(Outcome(name, "kept", current, current, touch.previous, reason))


def _plan_setting(planned: Plan, setting: Setting, live: dict[str, str | None]) -> None:
    name, path = setting.name, setting.path
    value, current = kernelfs.canonical(path, setting.value), live.get(path)
    if current is None:
        planned.record.touched.pop(name, None)
        planned.outcomes.append(Outcome(name, "not_applicable", value, reason="this kernel has no such key"))
        return
    earlier = planned.record.touched.get(name)
    higher = setting.only_raise and _number(name, current) > _number(name, value)
    if earlier is None and setting.only_raise and (higher or current == value):
        reason = f"only raised, and {current} is higher" if higher else ""
        planned.outcomes.append(Outcome(name, "already", value, current, current, reason))
        return
    touch = earlier or _first_touch(path, current, live)
    if earlier and earlier.asked == value and earlier.ours == current != value:
        reason = f"the kernel made {current} of {value}"
        planned.outcomes.append(Outcome(name, "already", value, current, touch.previous, reason))
        return
    touch = dataclasses.replace(touch, asked=value, ours=value)
    planned.record.touched[name] = touch
    if higher or current == value:
        planned.outcomes.append(Outcome(name, "already", value, current, touch.previous))
    else:
        planned.steps.append(Step(name, path, current, value, path, value, touch, earlier))


def _number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise TuningError(f"tunable '{name}': '{text}' is not one number, so it cannot be 'only raised'") from None


def twin_of(path: str) -> str | None:
    """Return the sysctl key *_ratio that belongs to a key *_bytes, or None for any other key.

    When one of the two is set, the kernel sets the other to zero. Source: Documentation/admin-guide/sysctl/vm.rst,
    dirty_bytes.
    """
    if path in ("/proc/sys/vm/dirty_bytes", "/proc/sys/vm/dirty_background_bytes"):
        return path.replace("_bytes", "_ratio")
    return None


def _first_touch(path: str, current: str, live: dict[str, str | None]) -> Touch:
    twin = twin_of(path)
    twin_value = live.get(twin) if twin else None
    if twin and twin_value is not None and current == "0":  # the kernel refuses a written 0, so restore the twin
        return Touch(path, current, "", "", twin, twin_value)
    return Touch(path, current, "", "", path, current)


def predict(store: Store, planned: Plan) -> list[Outcome]:
    """Return the outcomes that `apply` would probably have, without writing anything.

    They are derived from files that cannot be written, and from values that the kernel rejected in earlier runs.
    """
    outcomes = list(planned.outcomes)
    for step in planned.steps:
        closed = store.refusal(step.write_path)
        rejection = planned.record.rejected.get(step.name)
        if closed:
            outcomes.append(_outcome(step, "refused", step.before, closed))
        elif rejection and rejection.value == step.value:
            outcomes.append(_outcome(step, rejection.status, step.before, rejection.reason))
        else:
            outcomes.append(_outcome(step, "restored" if step.restoring else "applied", step.value))
    return outcomes


def apply(store: Store, planned: Plan) -> tuple[list[Outcome], Record]:
    """Make all writes. Return all outcomes and the new record, which lists what was changed and what was rejected."""
    outcomes = list(planned.outcomes)
    record = planned.record.copy()
    for step in planned.steps:
        outcome = _write(store, step)
        outcomes.append(outcome)
        touch: Touch | None = step.earlier_touch
        if outcome.status == "applied":
            touch = dataclasses.replace(step.touch, ours=outcome.value)
        elif outcome.status == "restored":
            touch = None
        record.touched.pop(step.name)
        if touch:
            record.touched[step.name] = touch
        record.rejected.pop(step.name, None)
        if outcome.status in ("refused", "no_op"):
            record.rejected[step.name] = Rejection(step.value, outcome.status, outcome.reason)
    return outcomes, record


def _write(store: Store, step: Step) -> Outcome:
    try:
        store.write(step.write_path, step.write_value)
    except kernelfs.RefusedError as answer:
        return _outcome(step, "refused", step.before, str(answer))
    now = store.read(step.path) or ""
    if now == step.before:
        return _outcome(step, "no_op", now, f"the kernel took {step.write_value} and still says {now}")
    reason = "" if now == step.value else f"the kernel made {now} of {step.value}"
    return _outcome(step, "restored" if step.restoring else "applied", now, reason)


def _outcome(step: Step, status: str, value: str, reason: str = "") -> Outcome:
    shown = value if status in ("applied", "restored") else step.value
    return Outcome(step.name, status, shown, step.before, step.touch.previous, reason)


def roll_back(store: Store, planned: Plan, outcomes: list[Outcome]) -> list[str]:
    """Undo the writes of this run because a later step failed.

    Return the names of the values that could not be restored.
    """
    written = {outcome.name for outcome in outcomes if outcome.status in ("applied", "restored")}
    failed = []
    for step in reversed([step for step in planned.steps if step.name in written]):
        path, value = step.path, step.before
        if not step.restoring and not step.earlier_touch:
            path, value = step.touch.restore_path, step.touch.restore_value
        try:
            store.write(path, value)
        except kernelfs.RefusedError:
            failed.append(step.name)
    return failed


def summary(name: str, outcomes: list[Outcome]) -> list[dict[str, str]]:
    """Return one entry (knob) per status for many similar settings, such as those of 192 CPUs."""
    knobs = []
    for status in STATUSES:
        group = [outcome for outcome in outcomes if outcome.status == status]
        if not group:
            continue
        members = ", ".join(outcome.name for outcome in group if outcome.name)
        partly = f"{len(group)} of {len(outcomes)}: {members}" if len(group) < len(outcomes) else ""
        knob = {
            field: ", ".join(sorted({getattr(outcome, field) for outcome in group} - {""}))
            for field in ("value", "before", "previous", "reason")
        }
        knob["reason"] = "; ".join(text for text in (partly, knob["reason"]) if text)
        knobs.append({"name": name, "status": status, **knob, "overridden_by": ""})
    return knobs
