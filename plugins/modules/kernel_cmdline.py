#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that sets kernel arguments for the next boot."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: kernel_cmdline
short_description: Set kernel arguments for the next boot, and remove only those that it added
version_added: 0.1.0
description:
  - Set the listed arguments for the next boot, by C(grubby) if it is installed, otherwise by a file for
    C(update-grub).
  - Replace an argument of the host that has a listed name and another value. An empty list restores it.
  - Never reboot. RV(reboot_required) is the result of a comparison with C(/proc/cmdline).
  - Fail when the host has booted without the arguments that were set, because another reboot would not help.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  arguments:
    description: >-
      Every wanted argument, such as V(skew_tick=1). An empty list removes all arguments that this module has added.
    type: list
    elements: str
    required: true
  never:
    description: The arguments that are never set, even if O(arguments) has them.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The name of the argument, or the argument with its value to refuse only that value.
        type: str
        required: true
      reason:
        description: The reason, which is reported.
        type: str
        required: true
attributes:
  check_mode:
    support: full
    description: Report what would be changed.
  diff_mode:
    support: full
    description: Show the arguments of the next boot, and the drop-in.
"""

EXAMPLES = r"""
- name: Leave CPU 3 to the engine alone after the next boot
  lowlatency.trading.kernel_cmdline:
    arguments: ["isolcpus=managed_irq,domain,3", nohz_full=3, rcu_nocbs=3]
  register: boot

- name: Bring back the boot arguments of before
  lowlatency.trading.kernel_cmdline:
    arguments: []
"""

RETURN = r"""
reboot_required:
  description: Whether the next boot would change the arguments of the kernel.
  returned: always
  type: bool
awaiting_boot:
  description: The changes of the next boot, V(+argument) for an added and V(-argument) for a removed argument.
  returned: always
  type: list
  elements: str
  sample: ["+nohz_full=3"]
knobs:
  description: One entry for each argument, as in M(lowlatency.trading.kernel_tunables).
  returned: always
  type: list
  elements: dict
  sample:
    - name: nohz_full
      status: applied
      value: nohz_full=3
      before: ""
      previous: ""
      reason: in force after a reboot
      overridden_by: ""
"""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils import outside
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning import boot_arguments, kernelfs, undo
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.boot_arguments import Change, Ours, plan
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.boot_loaders import Grub, Grubby, Run
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.errors import TuningError
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.settings import Outcome

RECORD = f"{undo.DIRECTORY}/kernel_cmdline.json"
# The files in which the kernel shows the effect of an argument.
SHOWN_BY = {"isolcpus": "/sys/devices/system/cpu/isolated", "nohz_full": "/sys/devices/system/cpu/nohz_full"}
BOOT_ID = "/proc/sys/kernel/random/boot_id"
BOOT_FILES = {Grub: "GRUB's menu", Grubby: "the default boot entry"}
# The file is below /run, so that the next boot deletes it.
REMOVED = "/run/os-tuning-removed-arguments.json"


@dataclasses.dataclass(frozen=True)
class Tools:
    """The paths of update-grub and grubby. The path of a program that is not installed is empty."""

    update_grub: str
    grubby: str

    @classmethod
    def found(cls) -> Tools:
        path = "/usr/sbin:/sbin:/usr/bin:/bin"
        return cls(shutil.which("update-grub", path=path) or "", shutil.which("grubby", path=path) or "")


@dataclasses.dataclass(frozen=True)
class Observed:
    """The kernel arguments of the running kernel, of the next boot, and those that this collection has set.

    It also has the arguments that were removed since the boot. `boot` is the kernel's id of the present boot.
    """

    running: list[str]
    current: list[str]
    ours: Ours
    removed: list[str]
    boot: str


def observe(root: Path, loader: Grub | Grubby | None) -> Observed:
    """Return the kernel arguments of the host whose root directory is `root`.

    Without a boot loader the arguments of the next boot are empty.
    """
    ours = _load(kernelfs.under(root, RECORD))
    files = kernelfs.Files(root)
    running = (files.read("/proc/cmdline") or "").split()
    boot = files.read(BOOT_ID) or ""
    if loader is None:
        return Observed(running, [], ours, [], boot)
    return Observed(running, loader.arguments(), ours, _load_removed(root), boot)


def apply(root: Path, loader: Grub | Grubby, ours: Ours, change: Change, removed: list[str]) -> None:
    """Set the arguments for the next boot, and record this collection's changes."""
    record = kernelfs.under(root, RECORD)
    # Until the boot entries are written, record both the old and the new arguments as this collection's. So a killed
    # run can be undone.
    both = [*dict.fromkeys([*ours.added, *change.ours.added])]
    _save(record, Ours(both, change.ours.replaced or ours.replaced, change.ours.boot))
    loader.apply(change)
    _save(record, change.ours)
    undo.place_file(kernelfs.under(root, REMOVED), json.dumps(removed) if removed else "")


def run(
    root: Path, arguments: list[str], never: list[dict[str, str]], tools: Tools, command: Run, check: bool
) -> dict[str, Any]:
    """Set the next boot's arguments on the host whose root directory is `root`; return the module's result.

    The arguments in `never` are not set, even if they are wanted. With `check` nothing is changed. Raises TuningError
    when an argument is invalid or cannot be set.
    """
    refusals = {entry["name"]: entry["reason"] for entry in never}
    refused = [argument for argument in arguments if _reason(argument, refusals)]
    wanted = [argument for argument in arguments if argument not in refused]
    boot_arguments.check(wanted)
    loader = _loader(root, tools, command)
    found = observe(root, loader)
    outcomes = [Outcome(boot_arguments.key(a), "refused", a, reason=_reason(a, refusals)) for a in refused]
    if loader is None:
        missing = "neither update-grub nor grubby is on this host"
        if found.ours.added:
            raise TuningError(f"{missing}, but boot arguments were added on it: {' '.join(found.ours.added)}")
        outcomes += [Outcome(boot_arguments.key(a), "not_applicable", a, reason=missing) for a in wanted]
        return _result(outcomes, changed=False, awaiting=[], diff=("", ""))
    change = plan(found.current, wanted, found.ours)
    files = loader.files(change.ours)
    changed = bool(change.add or change.remove) or files[0] != files[1]
    removed = [a for a in [*found.removed, *change.remove] if a not in wanted]
    change = dataclasses.replace(
        change, ours=dataclasses.replace(change.ours, boot=found.boot if change.ours.added else "")
    )
    if changed and not check:
        apply(root, loader, found.ours, change, removed)
    awaiting = boot_arguments.awaiting_boot(found.running, wanted, removed)
    lost = [] if changed else boot_arguments.lost(awaiting, found.ours, found.boot)
    if lost:
        raise TuningError(
            f"boot arguments {' '.join(lost)} did not come with the last boot, though {BOOT_FILES[type(loader)]} has "
            "them: this host boots by something else (another boot loader, another entry, a kernel started by kexec). "
            "Set them there, or take them out of the profile (os_tuning_veto); no further reboot is asked for"
        )
    if awaiting and not changed and not check and found.boot and not found.ours.boot:
        _save(kernelfs.under(root, RECORD), dataclasses.replace(found.ours, boot=found.boot))
    for argument in wanted:
        name = boot_arguments.key(argument)
        ignored = _ignored(root, name) if argument in found.running else ""
        if ignored:
            outcomes.append(Outcome(name, "no_op", argument, reason=ignored))
            continue
        status = "already" if argument in found.current else "applied"
        reason = "in force after a reboot" if argument not in found.running else ""
        outcomes.append(Outcome(name, status, argument, reason=reason))
    outcomes += [
        Outcome(boot_arguments.key(a), "restored", "", a, reason="gone after a reboot")
        for a in change.remove
        if boot_arguments.key(a) not in {boot_arguments.key(b) for b in wanted}
    ]
    before, after = " ".join(found.current), " ".join([a for a in found.current if a not in change.remove] + change.add)
    return _result(outcomes, changed, awaiting, (f"{before}\n{files[0]}", f"{after}\n{files[1]}"))


def _reason(argument: str, refusals: dict[str, str]) -> str:
    return refusals.get(argument) or refusals.get(boot_arguments.key(argument)) or ""


def _ignored(root: Path, name: str) -> str:
    """Return how the running kernel shows that it ignores this argument, or an empty text when it does not."""
    path = SHOWN_BY.get(name)
    if path and (kernelfs.Files(root).read(path) or "(null)") == "(null)":
        return f"the kernel has the argument, and {path} is empty: it was built without this"
    return ""


def _loader(root: Path, tools: Tools, command: Run) -> Grub | Grubby | None:
    if tools.grubby:
        return Grubby(command, tools.grubby)
    if tools.update_grub and kernelfs.under(root, "/boot/grub").is_dir():
        return Grub(root, command, tools.update_grub)
    return None


def _load(path: Path) -> Ours:
    try:
        document = json.loads(undo.read_file(path) or '{"added": [], "replaced": []}')
        return Ours(list(document["added"]), list(document["replaced"]), str(document.get("boot", "")))
    except (ValueError, KeyError, TypeError) as error:
        raise TuningError(f"{path}: is damaged ({error}); nothing was changed. Restore it from a backup") from error


def _load_removed(root: Path) -> list[str]:
    """Return the recorded arguments that were removed since the boot. Raises TuningError for a damaged record."""
    path = kernelfs.under(root, REMOVED)
    try:
        return [str(argument) for argument in json.loads(undo.read_file(path) or "[]")]
    except (ValueError, TypeError) as error:
        raise TuningError(
            f"{path}: is damaged ({error}); nothing was changed. Remove it, and reboot some time"
        ) from error


def _save(path: Path, ours: Ours) -> None:
    empty = not ours.added and not ours.replaced
    undo.place_record(path, "" if empty else json.dumps(dataclasses.asdict(ours)))


def _result(outcomes: list[Outcome], changed: bool, awaiting: list[str], diff: tuple[str, str]) -> dict[str, Any]:
    return {
        "changed": changed,
        "reboot_required": bool(awaiting),
        "awaiting_boot": awaiting,
        "knobs": [{**dataclasses.asdict(outcome), "overridden_by": ""} for outcome in outcomes],
        "diff": {"before": diff[0], "after": diff[1]},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "arguments": {"type": "list", "elements": "str", "required": True},
            "never": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "reason": {"type": "str", "required": True},
                },
            },
        },
        supports_check_mode=True,
    )

    def command(argv: list[str]) -> tuple[int, str, str]:
        return outside.run(module, argv)

    wanted = module.params
    try:
        result = run(Path("/"), wanted["arguments"], wanted["never"], Tools.found(), command, module.check_mode)
    except TuningError as error:
        module.fail_json(msg=outside.printable(str(error)))
    module.exit_json(**outside.printable(result))


if __name__ == "__main__":
    main()
