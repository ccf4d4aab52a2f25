"""Which disturbances of the machine set a slice of the measurement aside, and which do not.

A slice is a tenth of a second. A slice that is set aside does not count for the verdict.
"""

from typing import Any

import pytest
from trading_bench.disturbance import Offset, Seen, Slice, offset_of, remarks, see, slices
from trading_bench.generator import Recording

MS = 1_000_000
BEGIN = 1_000 * MS
QUIET_NS = 5_000
NORMAL, SLOW = QUIET_NS * 10, QUIET_NS * 40


def ten_slices() -> Recording:
    """Return a recording of one second, that is, of ten slices. The load sends one order in each millisecond."""
    made = Recording(rate_per_s=1000, slots=1000, warmup_slots=0)
    for slot in range(1000):
        made.intended_ns[slot] = BEGIN + slot * MS
    return made


def record(
    marks: dict[int, list[list[int]]], samples: list[dict[str, int]] | None = None, **more: Any
) -> dict[str, Any]:
    witnesses = [
        {"cpu": cpu, "refused": "", "quiet_loop_ns": QUIET_NS, "loaded_loop_ns": QUIET_NS, "marks": found}
        for cpu, found in marks.items()
    ]
    seen = {
        "engine_ahead_ns": 0,
        "outside_cpus": 1,
        "witnesses": witnesses,
        "samples": samples or [],
        "real_time_tasks": [],
        "stalls": [],
    }
    return {**seen, **more}


def aside(seen: Seen, waited_ms: dict[int, int] | None = None) -> list[int]:
    """Return the numbers of the slices that are set aside. `seen` is what was observed of the machine.

    `waited_ms` says for some slices how many ms one of their orders waits. This order is sent 49 ms after the slice's
    start.
    """
    longest = {number: (at(number * 100 + 49), at(number * 100 + 49 + ms)) for number, ms in (waited_ms or {}).items()}
    found: list[Slice] = slices(ten_slices(), seen, longest)
    assert len(found) == 10
    return [number for number, each in enumerate(found) if each.why]


def at(ms: int) -> int:
    return BEGIN + ms * MS


def test_a_slow_loop_sets_its_slice_aside_and_the_one_after() -> None:
    assert aside(see([(record({1: [[at(450), 0, SLOW]]}), Offset())])) == [4, 5]


def test_a_late_witness_alone_proves_nothing() -> None:
    """A slice is not set aside only because a witness woke up late.

    A witness is a thread that should wake up each millisecond. A long system call of the engine delays it too.
    """
    assert aside(see([(record({1: [[at(450), 5 * MS, NORMAL]]}), Offset())])) == []


def test_two_late_witnesses_at_one_moment_prove_that_the_machine_stood_still() -> None:
    both = {0: [[at(450), 5 * MS, NORMAL]], 1: [[at(451), 4 * MS, NORMAL]]}
    assert aside(see([(record(both), Offset())])) == [4, 5]
    apart = {0: [[at(450), 2 * MS, NORMAL]], 1: [[at(470), 2 * MS, NORMAL]]}
    assert aside(see([(record(apart), Offset())])) == []


def test_late_while_time_was_stolen_proves_it_too() -> None:
    sample = {"from_ns": at(400), "to_ns": at(500), "stolen_ns": 10 * MS}
    assert aside(see([(record({1: [[at(450), 5 * MS, NORMAL]]}, [sample]), Offset())])) == [4, 5]
    elsewhere = {"from_ns": at(600), "to_ns": at(700), "stolen_ns": 10 * MS}
    assert aside(see([(record({1: [[at(450), 5 * MS, NORMAL]]}, [elsewhere]), Offset())])) == []


def test_a_quota_and_others_on_the_machine_s_cpu_are_disturbances() -> None:
    throttled = {"from_ns": at(410), "to_ns": at(490), "throttled_ns": 30 * MS}
    assert aside(see([(record({}, [throttled]), Offset())])) == [4, 5]
    outside = {"from_ns": at(410), "to_ns": at(490), "outside_ns": 5 * MS}
    assert aside(see([(record({}, [outside]), Offset())])) == [4, 5]
    little = {"from_ns": at(410), "to_ns": at(490), "outside_ns": 1 * MS}
    assert aside(see([(record({}, [little]), Offset())])) == []


def test_what_others_took_excuses_no_longer_stall() -> None:
    outside = {"from_ns": at(410), "to_ns": at(490), "outside_ns": 5 * MS}
    seen = see([(record({}, [outside]), Offset())])
    assert aside(seen, {4: 6}) == [4, 5]
    assert aside(seen, {4: 9}) == []


def test_what_others_took_of_the_generator_s_cpu_is_a_disturbance() -> None:
    """CPU time that other programs took from the load generator sets a slice aside.

    A load generator that waits for its CPU sends late and reads replies late. This is not the engine's fault.
    """
    waited = {"from_ns": at(410), "to_ns": at(490), "waited_ns": 5 * MS}
    seen = see([(record({}, [waited]), Offset())])
    assert aside(seen, {4: 6}) == [4, 5]
    assert aside(seen, {4: 9}) == []


def test_too_little_to_disturb_a_slice_explains_a_wait_in_the_one_after() -> None:
    """A disturbance that is too short to set a slice aside still counts in the slice after a disturbed slice.

    Together the two disturbances can explain an order's long wait, so both slices are set aside. Otherwise, on a busy
    machine, one long wait would make all slices around it count for the verdict.
    """
    much = {"from_ns": at(410), "to_ns": at(490), "outside_ns": 5 * MS}
    little = {"from_ns": at(500), "to_ns": at(590), "outside_ns": int(1.5 * MS)}
    assert aside(see([(record({}, [much, little]), Offset())]), {5: 8}) == [4, 5]
    assert aside(see([(record({}, [much]), Offset())]), {5: 8}) == [4]


def test_an_order_that_the_machine_does_not_explain_leaves_other_slices_alone() -> None:
    """An order waits longer than the disturbances explain. Only the slice of this order counts.

    A busy controller disturbs every slice. One slow order must not make the other slices count.
    """
    samples = [{"from_ns": at(ms), "to_ns": at(ms + 100), "outside_ns": 6 * MS} for ms in range(0, 1000, 100)]
    assert aside(see([(record({}, samples), Offset())]), {4: 30}) == [0, 1, 2, 3, *range(5, 10)]


def test_a_slice_in_which_a_real_time_task_of_others_ran_counts() -> None:
    sample = {"from_ns": at(400), "to_ns": at(500), "real_time_ns": 20 * MS}
    assert aside(see([(record({1: [[at(450), 0, SLOW]]}, [sample]), Offset())])) == []


def test_a_stall_longer_than_the_disturbance_counts_whole() -> None:
    seen = see([(record({1: [[at(450), 9 * MS, SLOW]]}), Offset())])
    assert aside(seen, {4: 10}) == [4, 5]
    assert aside(seen, {4: 50}) == []
    assert aside(seen, {5: 50}) == [4], "the queue after a disturbance lasts no 50 ms"
    assert aside(seen, {6: 50}) == [4, 5], "an order of another slice is no matter of this one"


def test_a_stall_that_the_engine_recorded_counts_when_it_is_longer_than_what_the_witness_saw() -> None:
    longer = record({1: [[at(450), 9 * MS, SLOW]]}, stalls=[[at(470), 30 * MS, "snapshot"]])
    assert aside(see([(longer, Offset())])) == []
    caused = record({1: [[at(450), 9 * MS, SLOW]]}, stalls=[[at(460), 9 * MS, "read"]])
    assert aside(see([(caused, Offset())])) == [4, 5]


def test_many_short_disturbances_excuse_no_long_stall() -> None:
    short = record({1: [[at(ms), 0, SLOW] for ms in range(50, 1000, 100)]})
    assert aside(see([(short, Offset())]), {4: 4}) == list(range(10))
    assert aside(see([(short, Offset())]), {4: 40}) == [0, 1, 2, 3, *range(5, 10)]


def away(from_ms: int, to_ms: int) -> list[list[int]]:
    """Return what a witness records on a machine that does not run for 80 ms of each 100 ms.

    A witness is a thread that marks the times at which its CPU was taken away.
    """
    return [[at(ms), 80 * MS, SLOW] for ms in range(from_ms, to_ms, 100)]


def test_a_queue_that_the_machine_left_behind_is_its_own() -> None:
    """Disturbances cause a queue of waiting orders. They explain an order's wait up to the length of this queue.

    The machine does not run for 80 ms of each 100 ms, so the queue grows by 60 ms in each slice. A slice with a longer
    wait counts for the verdict.
    """
    seen = see([(record({1: away(10, 1000)}), Offset())])
    everywhere = list(range(10))
    assert aside(seen, {9: 500}) == everywhere, "480 ms that it left behind, and what it was away meanwhile"
    assert aside(seen, {9: 900}) == everywhere[:9]


def test_a_queue_is_served_with_what_the_engine_does_not_need() -> None:
    """After a disturbance, the queue of waiting orders becomes shorter again, and explains only shorter waits.

    The machine does not run for 400 ms, and then for 1 ms of each 100 ms. In each later slice, the engine has 19 ms in
    which it can reduce the queue of orders.
    """
    marks = [[at(10), 390 * MS, SLOW], *([at(ms), 0, SLOW] for ms in range(410, 1000, 100))]
    seen = see([(record({1: marks}), Offset())])
    everywhere = list(range(10))
    assert aside(seen, {8: 200}) == everywhere
    assert aside(seen, {8: 300}) == [*range(8), 9]


def test_a_queue_excuses_no_stall_that_the_engine_made() -> None:
    stalled = record({1: away(10, 1000)}, stalls=[[at(980), 500 * MS, "snapshot"]])
    assert aside(see([(stalled, Offset())]), {9: 500}) == [0, 1, 2, 3], "from 480 ms on the engine stood still"


def test_what_others_took_in_two_slices_is_divided_between_them() -> None:
    """A sample can cover parts of two slices. Its CPU time is divided between them.

    Half of each sample here belongs to the slice before. If the whole time counted in both slices, there would seem to
    be a queue of orders.
    """
    samples = [{"from_ns": at(ms), "to_ns": at(ms + 100), "outside_ns": 15 * MS} for ms in range(50, 950, 100)]
    assert aside(see([(record({}, samples), Offset())]), {9: 60}) == list(range(9))


def test_what_is_not_known_of_the_clocks_excuses_nothing() -> None:
    seen = see([(record({1: [[at(450), 0, SLOW]]}), Offset(uncertain_ns=19 * MS))])
    assert aside(seen, {4: 4}) == [4, 5]
    assert aside(seen, {4: 30}) == []


def test_a_machine_of_several_cpus_loses_more_before_it_is_disturbed() -> None:
    outside = {"from_ns": at(410), "to_ns": at(490), "outside_ns": 7 * MS}
    assert aside(see([(record({}, [outside]), Offset())])) == [4, 5]
    assert aside(see([(record({}, [outside], outside_cpus=2), Offset())])) == []


def test_without_real_time_priority_a_witness_shows_nothing_but_stolen_time_does() -> None:
    refused = record({1: [[at(450), 0, SLOW]]})
    refused["witnesses"][0]["refused"] = "Operation not permitted"
    assert aside(see([(refused, Offset())])) == []
    stolen = {"from_ns": at(600), "to_ns": at(690), "stolen_ns": 10 * MS}
    assert aside(see([({**refused, "samples": [stolen]}, Offset())])) == [6, 7]
    assert "real-time priority was refused (Operation not permitted)" in remarks(refused, "the host")[0]


def test_another_host_s_times_are_moved_and_widened_by_what_is_not_known() -> None:
    ahead = Offset(ns=7_000 * MS, uncertain_ns=60 * MS)
    moved = record({1: [[at(450) + 7_000 * MS, 0, SLOW]]})
    assert aside(see([(moved, ahead)])) == [3, 4, 5, 6]


def test_the_offset_of_clocks_comes_from_the_fastest_reply() -> None:
    made = ten_slices()
    for slot, trip_ns in enumerate((400_000, 60_000, 900_000)):
        made.sent_ns[slot] = made.intended_ns[slot]
        made.answered_ns[slot] = made.sent_ns[slot] + trip_ns
        # The engine's time is 3 s ahead of the clock of its host. This clock is 2 s ahead of the generator's clock.
        made.engine_ns[slot] = made.sent_ns[slot] + trip_ns // 2 + 5_000 * MS
    offset = offset_of(record({}, engine_ahead_ns=3_000 * MS), made)
    assert offset == Offset(ns=2_000 * MS, uncertain_ns=30_000)
    assert offset_of(record({}, engine_ahead_ns=None), made) is None


def test_a_machine_that_is_slow_throughout_is_named() -> None:
    slow = record({1: []})
    slow["witnesses"][0]["loaded_loop_ns"] = QUIET_NS * 4
    assert remarks(slow, "the host") == ["CPU 1 of the host was 4.0 times slower throughout than before the load"]


def test_real_time_tasks_of_others_are_named() -> None:
    named = record({}, real_time_tasks=["hog (812)"])
    assert remarks(named, "the host") == ["real-time tasks of others on the host: hog (812)"]


@pytest.mark.parametrize("marks", [[], [[at(999), 0, SLOW]], [[at(0), 0, SLOW]]])
def test_the_ends_of_a_run_are_slices_like_others(marks: list[list[int]]) -> None:
    expected = {0: [], at(999): [9], at(0): [0, 1]}[marks[0][0] if marks else 0]
    assert aside(see([(record({1: marks}), Offset())])) == expected
