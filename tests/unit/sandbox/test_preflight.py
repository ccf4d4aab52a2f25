import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from embedded_ec2 import lifecycle, preflight
from embedded_ec2.errors import SandboxError
from embedded_ec2.preflight import require_machines_possible
from embedded_ec2.state import Sandbox


def test_what_is_not_installed_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match=r"systemd-nspawn.*apt-get install .*systemd-container"):
        require_machines_possible(qemu=False)


def test_without_root_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SandboxError, match=r"need root.*--no-machines"):
        require_machines_possible(qemu=False)


def test_another_system_than_linux_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SandboxError, match=r"need Linux, and this is darwin"):
        require_machines_possible(qemu=False)


@pytest.fixture
def up(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], object]:
    """Return a function that starts a sandbox in a directory.

    The checks that other tests cover succeed. The sandbox's process is not started.
    """
    monkeypatch.setattr(preflight, "require_machines_possible", lambda **_options: None)
    monkeypatch.setattr(lifecycle, "ensure_image", lambda *_arguments: Path("/nowhere"))
    monkeypatch.setattr(lifecycle, "_start_process", lambda *_arguments: None)
    return lambda base: lifecycle.up(Sandbox("a", base / "a"), ["container"], print)


def test_a_full_disk_is_named_before_a_machine_writes_to_it(
    up: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "NEEDED_BYTES", 2**62, raising=False)
    with pytest.raises(SandboxError, match=f"{tmp_path}/state has .* GB free, machines need"):
        up(tmp_path / "state")
    assert not (tmp_path / "state/a").exists()


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of the type overlay and yield its directory. A container's own disk has this type."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root; `sudo -E scripts/test` runs this test")
    parts = [tmp_path / name for name in ("lower", "upper", "work", "root")]
    for part in parts:
        part.mkdir()
    options = "lowerdir={},upperdir={},workdir={}".format(*parts)
    command = ["mount", "-t", "overlay", "overlay", "-o", options, str(parts[-1])]
    mounted = subprocess.run(command, check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"an overlay cannot be mounted here: {mounted.stderr.strip()}")
    yield parts[-1]
    subprocess.run(["umount", parts[-1]], check=True)


def test_a_containers_own_disk_is_named_with_the_way_out(
    up: Callable[[Path], object], overlay: Path, tmp_path: Path
) -> None:
    with pytest.raises(SandboxError, match=f"{overlay}/state carries no overlay.*mount a volume there"):
        up(overlay / "state")
    assert not (overlay / "state/a").exists()
    with pytest.raises(SandboxError, match="ended as soon as it was up"):
        up(tmp_path / "state")
    assert sorted(path.name for path in (tmp_path / "state").iterdir() if path.is_dir()) == ["a"]
