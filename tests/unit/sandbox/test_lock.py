import threading
from pathlib import Path

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
