"""Kills a run of the role os_tuning after its n-th task on the host, and then runs the role again.

The result must be the same as without the kill. The proof does this with runs that tune the host, and with runs that
remove the tuning.
"""

from __future__ import annotations

import itertools
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.proofs.evidence import ROOT, Evidence
from tests.proofs.tuning_host import TUNE, UNTUNE, Play, TuningHost, booted, changes

# The role's list of kernel arguments that it has removed. A boot deletes this file, so it is not compared.
FORGOTTEN_AT_BOOT = "/run/os-tuning-removed-arguments.json"
SOURCES = [ROOT / name for name in ("roles/os_tuning", "plugins/modules", "plugins/module_utils", "plugins/filter")]


@dataclass
class Interruptions:
    """A host, its state without tuning, and its state after a complete tuning. Later states are compared with both."""

    host: TuningHost

    def __post_init__(self) -> None:
        self.untuned = self.host.state()
        self.tune = self.host.play_to_the_end(TUNE)
        self.tuned = self.host.state()
        assert self.tuned != self.untuned

    def kill_tuning(self, after: int) -> str:
        """Tune the host, kill the run after `after` tasks, and tune again.

        Return the name of the last task before the kill. Raises AssertionError when the host's state differs from that
        after a complete tuning.
        """
        return self._kill(after, TUNE, self.tuned)

    def kill_untuning(self, after: int) -> str:
        """Do the same as `kill_tuning`, with the playbook that removes the tuning."""
        return self._kill(after, UNTUNE, self.untuned)

    def _kill(self, after: int, playbook: Path, expected: dict[str, str]) -> str:
        killed = self.host.play(playbook, kill_after=after)
        assert killed.exit_code == -signal.SIGKILL, killed.output[-2000:]
        last = killed.host_tasks[-1]
        self.host.play_to_the_end(playbook)
        differing = changes(expected, self.host.state())
        differing.pop(FORGOTTEN_AT_BOOT, None)
        assert not differing, f"{playbook.name} killed after '{last}' and repeated left otherwise: {differing}"
        return last


def points(whole: Play) -> range:
    """Return the numbers of tasks after which a run with the same tasks as `whole` can be killed.

    At least one task remains after the kill.
    """
    return range(1, len(whole.host_tasks))


def prove(kills: int) -> Path:
    """Kill a tuning after each of its first `kills` tasks, and do the same with a removal of the tuning.

    Write the record and return its path. Raises AssertionError when a host's state differs from the expected one.
    """
    evidence = Evidence("interrupted", kills, SOURCES)
    with booted("interrupted", "10.77.0.0/16") as host:
        interruptions = Interruptions(host)
        forth = points(interruptions.tune)
        back = points(host.play_to_the_end(UNTUNE))
        pairs = list(itertools.zip_longest(forth, back, fillvalue=1))[:kills]
        for tuning, untuning in pairs[evidence.done :]:
            evidence.add([interruptions.kill_tuning(tuning), interruptions.kill_untuning(untuning)])
            print(f"{evidence.done} of {len(pairs)}: killed after {evidence.results[-1]}", file=sys.stderr)
    return evidence.finish({"killed_after": evidence.results, "differences": 0})
