import threading
from pathlib import Path

import pytest
from embedded_ec2.errors import SandboxError
from embedded_ec2.state import only_one_at_a_time


def test_the_directory_goes_with_the_last_sandbox(tmp_path: Path) -> None:
    base = tmp_path / "state"
    with only_one_at_a_time(base):
        (base / "a").mkdir()
    assert base.is_dir()
    with only_one_at_a_time(base):
        (base / "a").rmdir()
    assert not base.exists()


def test_whoever_waited_for_a_directory_that_went_gets_a_new_one(tmp_path: Path) -> None:
    base = tmp_path / "state"
    order: list[str] = []

    def second() -> None:
        with only_one_at_a_time(base):
            order.append("second")
            (base / "b").mkdir()

    waiting = threading.Thread(target=second)
    with only_one_at_a_time(base):
        waiting.start()
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]
    assert (base / "b").is_dir()


def test_a_directory_made_and_removed_by_others_all_the_time_is_no_mistake(tmp_path: Path) -> None:
    base = tmp_path / "state"
    entered: list[int] = []

    def enter_often(number: int) -> None:
        for _ in range(300):
            with only_one_at_a_time(base):
                entered.append(number)

    threads = [threading.Thread(target=enter_often, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(entered) == sorted(list(range(4)) * 300)
    assert not base.exists()


def test_a_file_in_its_place_is_said(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with (
        pytest.raises(SandboxError, match=r"cannot keep state in .*state: Not a directory"),
        only_one_at_a_time(tmp_path / "state"),
    ):
        pass
