# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The function that changes kernel values on a host, for all tuning modules. The order allows a restore at any moment.

The order is: record the old values, set the new ones, write the files for the next boot. When a step fails, the host's
values are restored. When the run is killed, the record still has the old values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from ansible_collections.lowlatency.trading.plugins.module_utils.tuning import kernelfs, settings, undo
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.errors import TuningError
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.settings import Outcome, Setting, Store


@dataclasses.dataclass(frozen=True)
class Result:
    """The outcome of each setting. `held` maps names to the values that must also apply after a boot."""

    outcomes: list[Outcome]
    held: dict[str, str]
    changed: bool
    diff: dict[str, str]


def converge(
    root: Path,
    store: Store,
    record_name: str,
    wanted: list[Setting],
    boot_texts: Callable[[dict[str, str]], dict[str, str]],
    check: bool,
    force: bool = False,
) -> Result:
    """Change the values in `store` to the wanted settings, and restore the values that are no longer wanted.

    With `check` nothing is changed. `boot_texts` returns the text of each boot file for the values that must apply
    after a boot; an empty text stands for "no such file". `force` also restores values that somebody else has changed
    since. Raises TuningError when a file cannot be read or written. A value that the kernel refuses is an outcome, not
    an error.
    """
    record_file = kernelfs.under(root, f"{undo.DIRECTORY}/{record_name}.json")
    record = undo.load(record_file)
    planned = settings.plan(wanted, settings.observe(store, wanted, record), record, force)
    old_texts = {path: undo.read_file(kernelfs.under(root, path)) for path in boot_texts({})}
    saved = record
    if check:
        outcomes, after = settings.predict(store, planned), planned.record
    else:
        if planned.record.touched != record.touched:
            undo.save(record_file, planned.record)
            saved = planned.record
        outcomes, after = settings.apply(store, planned)
    not_held = {outcome.name for outcome in outcomes if outcome.status in ("refused", "no_op", "kept", "restored")}
    held = {name: touch.asked for name, touch in sorted(after.touched.items()) if name not in not_held}
    texts = boot_texts(held)
    if not check:
        try:
            for path, text in texts.items():
                undo.place_file(kernelfs.under(root, path), text)
            if after != saved:
                undo.save(record_file, after)
        except TuningError as error:
            failed = settings.roll_back(store, planned, outcomes)
            said = "the kernel's values were set back" + (f", except {', '.join(failed)}" if failed else "")
            raise TuningError(f"{error}; {said}") from error
    written = [outcome for outcome in outcomes if outcome.status in ("applied", "restored")]
    return Result(
        outcomes,
        held,
        changed=bool(written) or old_texts != texts,
        diff={
            "before": "".join(f"{o.name} = {o.before}\n" for o in written) + "".join(old_texts.values()),
            "after": "".join(f"{o.name} = {o.value}\n" for o in written) + "".join(texts.values()),
        },
    )
