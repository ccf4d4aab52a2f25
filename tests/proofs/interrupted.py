"""Kills a run of the role os_tuning after its n-th task on the host, and repeats it. The result must be the same.

Both directions are tested: from the untouched host to the tuned one, and back.
"""

from __future__ import annotations

import itertools
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.proofs.evidence import ROOT, Evidence
from tests.proofs.tuning_host import TUNE, UNTUNE, Play, TuningHost, booted, changes

# Which arguments the next boot will be without; only a boot can take it away.
FORGOTTEN_AT_BOOT = "/run/os-tuning-removed-arguments.json"
SOURCES = [ROOT / name for name in ("roles/os_tuning", "plugins/modules", "plugins/module_utils", "plugins/filter")]


@dataclass
class Interruptions:
    """A host, and the result of its tuning without interruption, with which later results are compared."""

    host: TuningHost

    def __post_init__(self) -> None:
        self.untuned = self.host.state()
        self.tune = self.host.play_to_the_end(TUNE)
        self.tuned = self.host.state()
        assert self.tuned != self.untuned

    def kill_tuning(self, after: int) -> str:
        """Tune the untuned host, kill the run after this number of tasks and repeat it; return the last task."""
        return self._kill(after, TUNE, self.tuned)

    def kill_untuning(self, after: int) -> str:
        """Do the same for the removal of tuning."""
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
    """Return the numbers of tasks after which a run can be killed between two tasks."""
    return range(1, len(whole.host_tasks))


def prove(kills: int) -> Path:
    """Return the record of the first `kills` kill points, each after a task; raises AssertionError at a difference."""
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
