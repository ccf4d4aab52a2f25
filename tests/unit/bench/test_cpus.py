"""On which CPUs the load generator runs, and when it may keep a CPU busy all the time."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from trading_bench import cpus
from trading_bench.cpus import own_groups, parse, place, throttled_ns


@pytest.mark.parametrize(("text", "expected"), [("0", [0]), ("0,2-3", [0, 2, 3]), ("3,1-2,2", [1, 2, 3])])
def test_a_kernel_list_of_cpus_is_read(text: str, expected: list[int]) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize("text", ["", "a", "1-", "3-2", "1;2"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


@pytest.fixture
def own_affinity() -> Iterator[set[int]]:
    """Yield the CPUs that this process may use. At the end, allow it to use the same CPUs again."""
    before = os.sched_getaffinity(0)
    yield before
    os.sched_setaffinity(0, before)


def test_the_generator_keeps_off_the_engine_s_cpu_and_spins_on_its_own(
    own_affinity: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpus, "usable", lambda: sorted({*own_affinity, 4096}))
    monkeypatch.setattr(cpus, "quota", lambda: float("inf"))
    mine = min(own_affinity)
    assert place([], {*own_affinity, 4096} - {mine}) == ([mine], True)
    assert os.sched_getaffinity(0) == {mine}


def test_of_several_cpus_it_takes_the_last_one(own_affinity: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "usable", lambda: sorted({*own_affinity, 4096}))
    monkeypatch.setattr(cpus, "quota", lambda: float("inf"))
    assert place([], {4096}) == ([max(own_affinity)], True)
    assert os.sched_getaffinity(0) == {max(own_affinity)}


def test_on_the_one_cpu_that_the_feed_has_as_well_it_sleeps(
    own_affinity: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpus, "usable", lambda: sorted({*own_affinity, 4096}))
    monkeypatch.setattr(cpus, "quota", lambda: float("inf"))
    mine = min(own_affinity)
    assert place([], {*own_affinity, 4096} - {mine}, feed_beside=True) == ([mine], False)
    assert os.sched_getaffinity(0) == {mine}


def test_where_no_cpu_is_left_it_stays_and_sleeps(own_affinity: set[int]) -> None:
    assert place([], own_affinity) == (sorted(own_affinity), False)
    assert os.sched_getaffinity(0) == own_affinity


def test_on_the_only_cpu_it_sleeps(monkeypatch: pytest.MonkeyPatch, own_affinity: set[int]) -> None:
    only = min(own_affinity)
    os.sched_setaffinity(0, {only})
    assert place([], []) == ([only], False)


@pytest.mark.parametrize(("quota", "spins"), [(0.5, False), (1.9, False), (2.0, True)])
def test_within_a_quota_below_two_cpus_it_sleeps(
    own_affinity: set[int], monkeypatch: pytest.MonkeyPatch, quota: float, spins: bool
) -> None:
    monkeypatch.setattr(cpus, "usable", lambda: sorted({*own_affinity, 4096}))
    monkeypatch.setattr(cpus, "quota", lambda: quota)
    assert place([], {4096})[1] is spins


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")


def test_a_quota_of_a_group_above_counts_in_either_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing, root = tmp_path / "listing", tmp_path / "fs"
    write(listing, "0::/above/own\n")
    write(root / "above/own/cpu.stat", "usage_usec 9\nthrottled_usec 7\n")
    write(root / "above/cpu.stat", "throttled_usec 5\n")
    write(root / "above/cpu.max", "50000 100000\n")
    write(root / "cpu.stat", "usage_usec 9\n")
    groups = own_groups(listing, root)
    assert groups == [root / "above/own", root / "above", root]
    assert [throttled_ns(group) for group in groups] == [7_000, 5_000, 0]
    monkeypatch.setattr(cpus, "own_groups", lambda: groups)
    assert cpus.quota() == 0.5

    write(listing, "4:cpu,cpuacct:/own\n3:memory:/own\n")
    write(root / "cpu,cpuacct/own/cpu.stat", "throttled_time 12\n")
    write(root / "cpu,cpuacct/own/cpu.cfs_quota_us", "150000\n")
    write(root / "cpu,cpuacct/own/cpu.cfs_period_us", "100000\n")
    groups = own_groups(listing, root)
    assert groups == [root / "cpu,cpuacct/own"]
    assert throttled_ns(groups[0]) == 12
    assert cpus.quota() == 1.5


def test_no_limit_is_no_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("a/cpu.max", "max 100000"), ("b/cpu.cfs_quota_us", "-1"), ("b/cpu.cfs_period_us", "100000")):
        write(tmp_path / name, text)
    monkeypatch.setattr(cpus, "own_groups", lambda: [tmp_path / "a", tmp_path / "b"])
    assert cpus.quota() == float("inf")
