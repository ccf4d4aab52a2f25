from embedded_ec2.confinement import choose_cpus

FOUR = frozenset(range(4))


def test_the_first_machine_gets_the_highest_cpu() -> None:
    assert choose_cpus(1, [], FOUR) == {3}


def test_the_next_machine_gets_a_cpu_that_no_other_has() -> None:
    assert choose_cpus(1, [frozenset({3})], FOUR) == {2}


def test_machines_share_once_every_cpu_has_one() -> None:
    assert choose_cpus(1, [frozenset({cpu}) for cpu in FOUR], FOUR) == {3}


def test_another_sandbox_begins_elsewhere() -> None:
    assert choose_cpus(1, [], FOUR, slot=1) == {2}
    assert choose_cpus(1, [], frozenset({0, 1}), slot=3) == {0}


def test_a_larger_type_than_this_machine_gets_every_cpu() -> None:
    assert choose_cpus(16, [], FOUR) == FOUR


def test_only_cpus_this_process_may_use_are_given_away() -> None:
    assert choose_cpus(2, [], frozenset({1, 5})) == {1, 5}
