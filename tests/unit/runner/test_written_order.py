"""In some files, each test continues from the state that the previous test left.

The tests of such a file run in the order of the file, from the first test on.
"""

from __future__ import annotations

import pytest

from tests.conftest import out_of_order

WRITTEN = ("test_made", "test_used", "test_gone")


@pytest.mark.parametrize("picked", [WRITTEN, WRITTEN[:2], WRITTEN[:1]])
def test_the_whole_file_or_its_beginning_is_in_order(picked: tuple[str, ...]) -> None:
    assert out_of_order(WRITTEN, picked) == ""


@pytest.mark.parametrize(
    ("picked", "problem"),
    [
        (("test_used",), "test_made is not run before test_used"),
        (("test_made", "test_gone"), "test_used is not run before test_gone"),
        (("test_used", "test_made", "test_gone"), "they are not in the order of the file"),
    ],
)
def test_a_test_without_those_before_it_is_named(picked: tuple[str, ...], problem: str) -> None:
    assert out_of_order(WRITTEN, picked) == problem
