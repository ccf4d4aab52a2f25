"""A sandbox belongs to the checkout of this repository that has started it.

Another checkout with the same sandbox name cannot use it.
"""

import os
import subprocess
from pathlib import Path

import pytest
from embedded_ec2 import lifecycle, processes
from embedded_ec2.errors import SandboxError
from embedded_ec2.state import Running, Sandbox


@pytest.fixture
def held(tmp_path: Path) -> Sandbox:
    """Return a running sandbox that belongs to another checkout of this repository.

    Its files name the process of this test as the sandbox's process.
    """
    sandbox = Sandbox("a", tmp_path / "state/a")
    sandbox.directory.mkdir(parents=True)
    (tmp_path / "theirs").mkdir()
    sandbox.holder_file.write_text(str(tmp_path / "theirs"))
    ticks = processes.start_ticks(os.getpid()) or 0
    sandbox.record(Running(os.getpid(), ticks, "http://127.0.0.1:1", slot=2, kinds=[]))
    return sandbox


def test_another_holder_is_refused_and_told_who_holds_it(held: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=f"held by {tmp_path}/theirs: take it back there"):
        lifecycle.up(held, [], print, str(tmp_path / "mine"))
    with pytest.raises(SandboxError, match=f"held by {tmp_path}/theirs: take it back there"):
        lifecycle.down(held, str(tmp_path / "mine"))
    assert held.running()


def test_its_holder_and_who_claims_nothing_find_it_up(held: Sandbox, tmp_path: Path) -> None:
    assert lifecycle.up(held, [], print, str(tmp_path / "theirs")) == held.running()
    assert lifecycle.up(held, [], print) == held.running()


def test_a_holder_whose_directory_is_gone_holds_nothing(held: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "theirs").rmdir()
    assert lifecycle.up(held, [], print, str(tmp_path / "mine")) == held.running()


def test_the_settings_for_a_shell_lead_past_a_proxy(held: Sandbox, tmp_path: Path) -> None:
    state = tmp_path / "embedded-ec2"
    (tmp_path / "state").rename(state)
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "no_proxy": "example.org,localhost"}
    script = 'eval "$(python -m embedded_ec2 env --name a)"; echo "$no_proxy $NO_PROXY"'
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == " ".join(["example.org,localhost,127.0.0.1"] * 2) + "\n"
