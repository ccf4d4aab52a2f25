#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that switches the engine to another release, which must pass a gate before it takes orders.

The gate is a set of checks, `trading-engine gate`, that a newly started release must pass while order entry is closed.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_switch
short_description: Restart the engine with another release, and return to the previous one when a check fails
version_added: 0.1.0
description:
  - Have the engine close order entry. Restart it with the new release while order entry stays closed. Run the new
    release's check C(trading-engine gate), and open order entry when it passes.
  - Return to the previous release when the new one does not start, or does not pass the check. Also return when the new
    one computes another state from the previous release's snapshot. The new release cannot have taken an order by then.
    A cancel that it took is kept.
  - Never return to the previous release after order entry was opened.
  - Do all steps in one process on the host, because clients wait during the switch.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  user:
    description: The engine's Linux user, who owns the journal directory; empty for the user that runs the module.
    type: str
    default: ""
  account:
    description: The test account with which the check sends an order.
    type: str
    required: true
  password_file:
    description: The file on the host with the account's password in its first line.
    type: path
    required: true
  clients:
    description:
      - Refuse the switch while clients are connected (V(gone)), or notify them (V(told)). With V(told), new orders are
        rejected as in a closed market, and client sessions end with End of Session. A client can continue later with
        its next sequence number.
    type: str
    choices: [told, gone]
    default: told
  notice_s:
    description: The seconds in which clients can still cancel orders before their sessions end.
    type: int
    default: 0
  limit_s:
    description: The seconds that a start or a stop of the engine may take.
    type: int
    default: 120
attributes:
  check_mode:
    support: full
    description: Report whether the engine would be restarted.
  diff_mode:
    support: none
    description: RV(before) and RV(release) are the releases.
extends_documentation_fragment: lowlatency.trading.common.release
"""

EXAMPLES = r"""
- name: Go on as the next release
  lowlatency.trading.release_switch:
    root: /opt/trading
    release: 0123456789abcdef
    user: trading-engine
    account: BENCH
    password_file: /etc/trading/secrets/BENCH.password
"""

RETURN = r"""
release:
  description: The release that runs.
  type: str
  returned: always
before:
  description: The release that ran before.
  type: str
  returned: always
remarks:
  description: One sentence for each unusual event.
  type: list
  elements: str
  returned: always
restart_ms:
  description: The milliseconds from the restart command until the new release accepted connections.
  type: int
  returned: when the engine was restarted
closed_ms:
  description: The milliseconds for which order entry was closed.
  type: int
  returned: when the engine was restarted
"""

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils.release.installed import Releases, write_down
from ansible_collections.lowlatency.trading.plugins.module_utils.release.running import (
    RELEASE,
    Program,
    RunningError,
    Unit,
)

CLOSED_FILE = "order-entry-closed"
CLEAN_STOP_S = 30


@dataclass(frozen=True)
class Observed:
    """The state before the switch: release, order entry, number of clients, and whether the password file exists."""

    release: str
    entry_closed: bool
    sessions: int
    has_password: bool


def plan(observed: Observed, wanted: str, clients: str, config: str, password_file: str) -> bool:
    """Return whether the switch needs a restart of the engine.

    Raises RunningError when the conditions for a switch are not met.
    """
    if not observed.release:
        raise RunningError("the engine runs no release, so there is none to go back to: run configure.yml")
    if not observed.has_password:
        raise RunningError(
            f"{password_file} does not exist, so the gate has no account whose order it could try: name a test account "
            "in trading_engine_deploy_account"
        )
    if observed.entry_closed:
        raise RunningError(
            "order entry is closed already, by somebody or by a deployment that was broken off. Release "
            f"{observed.release} runs. Open it (`trading-engine admin --config {config} open-entry`), or, when that "
            "release was not tried to the end, go back with release_rollback.yml first"
        )
    if observed.release == wanted:
        return False
    if observed.sessions and clients == "gone":
        raise RunningError(
            f"clients are connected ({observed.sessions}), and trading_engine_deploy_clients=gone wants none. Nothing "
            "was touched"
        )
    return True


class Switch:
    """One switch of the engine to another release."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.releases = Releases(Path(module.params["root"]))
        self.unit = Unit(module, module.params["unit"], self.releases.root)
        self.config = ["--config", module.params["config"]]
        self.journal = Path(module.params["journal"])
        self.before = self.unit.release()
        self.links = {link: self.releases.linked(link) for link in ("current", "previous")}
        self.remarks: list[str] = []
        self.restart_ms = self.closed_ms = 0
        user = module.params["user"]
        as_engine = ["runuser", "-u", user, "--"] if user else []
        self.new_as_engine = Program(module, self.releases.root, module.params["release"], as_engine)
        self.old = Program(module, self.releases.root, self.before)
        self.new = Program(module, self.releases.root, module.params["release"])

    def observe(self) -> Observed:
        """Return the state before the switch. Nothing is changed. Raises RunningError when it cannot be read."""
        status: dict[str, Any] = {}
        sessions = 0
        if self.before:
            # A release that is too old for this command has no function to close order entry either.
            with contextlib.suppress(RunningError):
                status = self.old.answer("admin", *self.config, "status")
            sessions = int(self.old.answer("status", *self.config)["sessions_open"])
        has_password = Path(self.module.params["password_file"]).is_file()
        return Observed(self.before, bool(status.get("entry_closed")), sessions, has_password)

    def apply(self) -> None:
        """Switch the engine to the new release.

        Raises RunningError when that failed. The message says which release runs now.
        """
        self.new_as_engine.ask("next-start", "closed", *self.config)
        closed_at = self.close_entry()
        try:
            if self.links["current"] != self.new.release:
                self.releases.link("previous", self.before)
                self.releases.link("current", self.new.release)
            began = time.monotonic()
            if problem := self.unit.do("restart", self.module.params["limit_s"]):
                raise RunningError(problem)
            self.restart_ms = round((time.monotonic() - began) * 1000)
            process = self.unit.process()
            if self.unit.release() != self.new.release:
                raise RunningError(f"{self.unit.name} runs release {self.unit.release() or 'none'} after its restart")
            account = ["--account", self.module.params["account"]]
            self.new.ask("gate", *self.config, *account, "--password-file", self.module.params["password_file"])
            if self.unit.process() != process:
                raise RunningError(f"release {self.new.release} ended while it was tried, and was started again")
        except (RunningError, OSError) as error:
            self.go_back(str(error))
        self.open_entry()
        self.closed_ms = round((time.monotonic() - closed_at) * 1000)

    def close_entry(self) -> float:
        """Close order entry, so that clients are told that the market closes. Then wait while they may cancel.

        Return the time at which order entry was closed, on the monotonic clock.
        """
        try:
            self.old.ask("admin", *self.config, "close-entry")
        except RunningError as error:
            self.remarks.append(f"the release before took orders until it stopped: {error}")
        closed_at = time.monotonic()
        if self.module.params["notice_s"]:
            time.sleep(self.module.params["notice_s"])
        return closed_at

    def open_entry(self) -> None:
        """Open order entry of the new release. Raises RunningError when that fails.

        After this, the engine can return to the previous release only if it stops cleanly.
        """
        try:
            self.new.ask("admin", *self.config, "open-entry")
            is_closed = self.new.answer("admin", *self.config, "status")["entry_closed"]
        except RunningError as error:
            write_down(self.new.release, self.before, is_rollback=False)
            raise RunningError(
                f"release {self.new.release} passed its gate and may have taken orders, but open-entry failed: {error}."
                f" {self.condition()}. The way is forward: once it takes orders, run deploy.yml again for what is left;"
                " release_rollback.yml goes back by a clean stop"
            ) from error
        if is_closed:
            self.go_back("its order entry stays closed")

    def go_back(self, reason: str) -> None:
        """Activate the previous release again. Always raises RunningError, whose message says what runs now."""
        self.unit.do("stop", CLEAN_STOP_S)
        if self.unit.process():
            self.unit.kill()
            self.unit.do("stop", CLEAN_STOP_S)
        problem = self.usable_by_old()
        if problem:
            raise RunningError(
                f"release {self.new.release} did not pass: {reason}. The engine is stopped, because release "
                f"{self.before} cannot go on from the journal: {problem}. The way is forward: a release that can (after"
                f" `trading-engine seal {' '.join(self.config)}` of release {self.new.release}), or restore.yml"
            )
        left = self.put_back()
        problem = self.unit.do("restart", self.module.params["limit_s"])
        write_down(self.before, self.new.release, is_rollback=True)
        if problem or left:
            raise RunningError(
                f"release {self.new.release} did not pass: {reason}. "
                + "".join(f"{text}. " for text in left)
                + (f"The engine does not start: {problem}" if problem else self.condition())
            )
        raise RunningError(
            f"release {self.new.release} did not pass: {reason}. Release {self.before} runs again and takes orders; "
            "the new one took none"
        )

    def put_back(self) -> list[str]:
        """Set links and files so that the next start uses the previous release with open order entry.

        Return one sentence for each step that failed.
        """
        failed = []
        was_current = self.links["current"] == self.before
        try:
            if self.releases.linked("current") != self.before:
                self.releases.link("current", self.before)
        except OSError as error:
            failed.append(f"{self.releases.root}/current does not lead to release {self.before}: {error}")
        try:
            if was_current and self.links["previous"]:
                self.releases.link("previous", self.links["previous"])
            elif was_current:
                (self.releases.root / "previous").unlink(missing_ok=True)
        except OSError as error:
            failed.append(f"{self.releases.root}/previous is not what it was: {error}")
        try:
            # Open order entry only if the previous release will start. The new one would otherwise take orders.
            if self.releases.linked("current") == self.before:
                (self.journal / CLOSED_FILE).unlink(missing_ok=True)
        except OSError as error:
            failed.append(f"order entry stays closed with the next start: {error}")
        return failed

    def condition(self) -> str:
        """Return a sentence that says which release runs, and whether it takes orders if that is known."""
        running = self.unit.release()
        if not running:
            return "No engine runs"
        program = Program(self.module, self.releases.root, running)
        try:
            is_closed = program.answer("admin", *self.config, "status")["entry_closed"]
        except (RunningError, KeyError) as error:
            return f"Release {running} runs, and does not say whether it takes orders: {error}"
        if is_closed:
            return (
                f"Release {running} runs, and order entry is closed: `trading-engine admin {' '.join(self.config)} "
                "open-entry` opens it"
            )
        return f"Release {running} runs and takes orders"

    def usable_by_old(self) -> str:
        """Return why the previous release cannot continue from the journal, or an empty text when it can.

        The previous release may be unable to continue from what the new release has written to the journal, such as a
        cancel. Then the new release makes a snapshot here, from which the previous release can continue. A clean stop
        has already made one.
        """
        try:
            self.old.ask("check-journal", str(self.journal))
        except RunningError:
            try:
                self.new_as_engine.ask("seal", *self.config)
                self.old.ask("check-journal", str(self.journal))
            except RunningError as error:
                return str(error)
        return ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **RELEASE,
            "user": {"type": "str", "default": ""},
            "account": {"type": "str", "required": True},
            "password_file": {"type": "path", "required": True, "no_log": False},
            "clients": {"type": "str", "choices": ["told", "gone"], "default": "told"},
            "notice_s": {"type": "int", "default": 0},
            "limit_s": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    switch = Switch(module)
    release = module.params["release"]
    needed = False
    try:
        given = (module.params[name] for name in ("clients", "config", "password_file"))
        needed = plan(switch.observe(), release, *given)
        if needed and not module.check_mode:
            switch.apply()
            write_down(release, switch.before, is_rollback=False)
    except (RunningError, OSError) as error:
        module.fail_json(msg=str(error), release=switch.unit.release(), before=switch.before, remarks=switch.remarks)
    times = {"restart_ms": switch.restart_ms, "closed_ms": switch.closed_ms} if switch.closed_ms else {}
    module.exit_json(changed=needed, release=release, before=switch.before, remarks=switch.remarks, **times)


if __name__ == "__main__":
    main()
