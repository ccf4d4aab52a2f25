from __future__ import annotations

import pytest
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning import cpuset
from hypothesis import given
from hypothesis import strategies as st

CPUS = st.frozensets(st.integers(0, 255))


@given(CPUS)
def test_a_list_reads_back_as_the_set_it_was_made_of(cpus: frozenset[int]) -> None:
    assert cpuset.parse(cpuset.render(cpus)) == cpus


@given(CPUS)
def test_a_mask_reads_back_as_the_set_it_was_made_of(cpus: frozenset[int]) -> None:
    assert cpuset.parse_mask(cpuset.mask(cpus)) == cpus


def test_lists_and_masks_look_as_the_kernel_prints_them() -> None:
    assert cpuset.render(frozenset({0, 1, 2, 5, 7, 8})) == "0-2,5,7-8"
    assert cpuset.mask(frozenset({0, 1, 32})) == "1,00000003"
    assert cpuset.mask(frozenset()) == "0"


@pytest.mark.parametrize("text", ["1-0", "a", "1-", "-1", "0;1", "1-2-3"])
def test_a_text_that_is_no_cpu_list_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        cpuset.parse(text)
