"""A run of the role os_tuning is killed, and then the role runs again.

The tests kill it at three points of the role. `scripts/prove interrupted` tests many more.
"""

from __future__ import annotations

from tests.proofs.interrupted import Interruptions, points
from tests.proofs.tuning_host import TuningHost


def test_a_run_killed_between_two_tasks_and_repeated_leaves_what_a_whole_run_leaves(tuning_host: TuningHost) -> None:
    interruptions = Interruptions(tuning_host)
    kills = points(interruptions.tune)
    interruptions.kill_untuning(kills[len(kills) // 4])
    interruptions.kill_tuning(kills[len(kills) // 2])
    interruptions.kill_untuning(kills[-1])
