from __future__ import annotations

import pytest
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning import cpuset
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.cpu_layout import Cpu, Layout, by_core, divide
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.errors import TuningError
from hypothesis import given
from hypothesis import strategies as st


def machine(cpus: int, smt: bool = False, nodes: int = 1) -> list[Cpu]:
    """Return a machine's CPUs, numbered as Linux numbers them.

    With `smt`, each core has two threads. Linux first numbers one thread of each core, and then the other threads.
    """
    cores = cpus // 2 if smt else cpus
    return [Cpu(n, (0, n % cores), (n % cores) * nodes // cores) for n in range(cpus)]


def words(layout: Layout) -> tuple[str, str, str, str]:
    return (
        cpuset.render(layout.housekeeping),
        cpuset.render(layout.engine),
        cpuset.render(layout.telemetry),
        cpuset.render(layout.isolated),
    )


@pytest.mark.parametrize(
    ("cpus", "smt", "housekeeping", "engine", "telemetry", "isolated"),
    [
        (1, False, "0", "", "0", ""),
        (2, False, "0", "1", "0", "1"),
        (2, True, "0", "1", "0", ""),
        (4, False, "0-1", "3", "2", "3"),
        (4, True, "0,2", "1", "0,2", "1,3"),
        (16, False, "0-13", "15", "14", "15"),
        (16, True, "0-5,8-13", "7", "6,14", "7,15"),
        (96, False, "0-93", "95", "94", "95"),
        (96, True, "0-45,48-93", "47", "46,94", "47,95"),
        (192, False, "0-189", "191", "190", "191"),
        (192, True, "0-93,96-189", "95", "94,190", "95,191"),
    ],
)
def test_the_layout_of_each_size(
    cpus: int, smt: bool, housekeeping: str, engine: str, telemetry: str, isolated: str
) -> None:
    assert words(divide(machine(cpus, smt))) == (housekeeping, engine, telemetry, isolated)


def test_the_engine_is_on_the_network_cards_node_and_telemetry_beside_it() -> None:
    layout = divide(machine(16, nodes=2), near_node=0)
    assert words(layout)[1:3] == ("7", "6")


def test_a_card_without_a_node_of_ours_does_not_matter() -> None:
    assert divide(machine(4), near_node=7) == divide(machine(4))


def test_the_users_engine_cpus_are_taken_and_their_siblings_left_idle() -> None:
    assert words(divide(machine(8, smt=True), "1-2")) == ("0,4", "1-2", "3,7", "1-2,5-6")


@pytest.mark.parametrize(
    ("text", "said"),
    [("4", "no CPU 4; online are 0-3"), ("0-3", "leave one"), ("1-0", "descending"), ("x", "not a CPU number")],
)
def test_engine_cpus_the_host_cannot_give_are_named(text: str, said: str) -> None:
    with pytest.raises(TuningError, match=said):
        divide(machine(4), text)


@pytest.mark.parametrize(
    ("cpus", "smt", "engines", "expected"),
    [
        (4, False, 2, ("0", "2-3", "1", "2-3")),
        (4, False, 3, ("0", "1-3", "0", "1-3")),
        (4, False, 0, ("0-3", "", "0-3", "")),
        (8, True, 2, ("0,4", "2-3", "1,5", "2-3,6-7")),
        (16, False, 4, ("0-10", "12-15", "11", "12-15")),
    ],
)
def test_each_of_several_engines_has_a_core(
    cpus: int, smt: bool, engines: int, expected: tuple[str, str, str, str]
) -> None:
    assert words(divide(machine(cpus, smt), engines=engines)) == expected


def test_engines_beyond_the_network_cards_node_are_on_another() -> None:
    assert words(divide(machine(8, nodes=2), near_node=0, engines=2))[1] == "2-3"
    assert words(divide(machine(8, nodes=2), near_node=0, engines=5))[1] == "1-3,6-7"
    assert words(divide(machine(4, nodes=2), near_node=0, engines=2))[1] == "1,3", "the kernel itself prefers CPU 0"


def test_the_cpus_of_one_core_are_one_engine_s() -> None:
    cpus = machine(8, smt=True)
    assert by_core(cpus, divide(cpus, "1-2,5-6", engines=2).engine) == [[1, 5], [2, 6]]
    assert by_core(cpus, frozenset()) == []


@pytest.mark.parametrize(
    ("cpus", "smt", "text", "engines", "said"),
    [
        (1, False, "", 2, "has 1 .*engine none, telemetry 0, housekeeping 0"),
        (
            2,
            False,
            "",
            2,
            r"2 partitions need a core each and one for everything else, and this host has 2 .*engine 1, ",
        ),
        (4, True, "", 2, "has 2 .*engine 1, telemetry 0,2, housekeeping 0,2"),
        (4, False, "3", 2, "2 partitions need a core each, and the engine CPUs '3' have 1"),
        (8, True, "1,5", 2, "2 partitions need a core each, and the engine CPUs '1,5' have 1"),
    ],
)
def test_more_engines_than_there_are_cpus_for_are_refused_with_the_layout(
    cpus: int, smt: bool, text: str, engines: int, said: str
) -> None:
    with pytest.raises(TuningError, match=said):
        divide(machine(cpus, smt), text, engines=engines)


@given(st.integers(1, 192), st.booleans(), st.integers(1, 4))
def test_no_cpu_is_lost_isolated_and_shared_or_without_housekeeping(cpus: int, smt: bool, nodes: int) -> None:
    if smt:
        cpus += cpus % 2
    layout = divide(machine(cpus, smt, nodes), near_node=nodes - 1)
    everything = frozenset(range(cpus))
    assert layout.housekeeping | layout.engine | layout.telemetry | layout.isolated == everything
    assert layout.housekeeping
    assert not layout.isolated & (layout.housekeeping | layout.telemetry)
    assert not layout.engine & (layout.housekeeping if cpus > 1 else frozenset())
