from __future__ import annotations

import importlib
import shutil
import subprocess
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.boot_loaders import DROP_IN, Grubby
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.errors import TuningError

from .conftest import RunModule
from .host_tree import HostTree, full_disk

kernel_cmdline = importlib.import_module("ansible_collections.lowlatency.trading.plugins.modules.kernel_cmdline")

GRUB_CFG = "/boot/grub/grub.cfg"
BOOT_ID = "/proc/sys/kernel/random/boot_id"

# A fake update-grub of Debian. It reads the settings files and writes the boot arguments to the menu, as grub-mkconfig
# does.
UPDATE_GRUB = """#!/bin/sh
cd "$(dirname "$0")" || exit 1
[ ! -e fail ] || { echo "grub-mkconfig: no space left" >&2; exit 1; }
. ./etc/default/grub
for file in etc/default/grub.d/*.cfg; do [ ! -e "$file" ] || . "./$file"; done
printf '\\tlinux\\t/boot/vmlinuz-6.1 root=UUID=1 ro %s %s\\n' \\
  "$GRUB_CMDLINE_LINUX" "$GRUB_CMDLINE_LINUX_DEFAULT" > boot/grub/grub.cfg
"""

GRUBBY = (Path(__file__).parent / "grubby.sh").read_text()


def command(argv: list[str]) -> tuple[int, str, str]:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


class BootHost(HostTree):
    """A fake host without a program that sets boot arguments. Each subclass adds one of the two programs."""

    def __init__(self, root: Path, own: str = "console=ttyS0") -> None:
        super().__init__(root)
        self.own = own
        self.tools = kernel_cmdline.Tools("", "")

    def install(self, name: str, text: str) -> str:
        path = self.put(f"/{name}", text)
        path.chmod(0o755)
        return str(path)

    def converge(self, *arguments: str, never: list[dict[str, str]] | None = None, check: bool = False) -> Any:
        return kernel_cmdline.run(self.root, list(arguments), never or [], self.tools, command, check)

    def next_boot(self) -> list[str]:
        raise NotImplementedError

    def boot(self) -> None:
        self.put("/proc/cmdline", " ".join(self.next_boot()))
        self.boot_by_something_else()

    def boot_by_something_else(self) -> None:
        self.put(BOOT_ID, str(uuid.uuid4()))
        self.place("/run/os-tuning-removed-arguments.json").unlink(missing_ok=True)


class DebianHost(BootHost):
    def __init__(self, root: Path, own: str = "console=ttyS0") -> None:
        super().__init__(root, own)
        self.put("/etc/default/grub", f'GRUB_CMDLINE_LINUX="{own}"\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"')
        self.place("/boot/grub").mkdir(parents=True)
        self.tools = kernel_cmdline.Tools(self.install("update-grub", UPDATE_GRUB), "")
        command([self.tools.update_grub])
        self.boot()

    def next_boot(self) -> list[str]:
        return self.text(GRUB_CFG).split()[2:]


class GrubbyHost(BootHost):
    def __init__(self, root: Path, own: str = "console=ttyS0") -> None:
        super().__init__(root, own)
        self.tools = kernel_cmdline.Tools("", self.install("grubby", GRUBBY))
        self.put("/entry", f"ro {own} quiet")
        self.boot()

    def next_boot(self) -> list[str]:
        return self.text("/entry").split()


@pytest.fixture(params=[DebianHost, GrubbyHost])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> BootHost:
    made: BootHost = request.param(tmp_path / "a host")
    return made


def statuses(result: Any) -> dict[str, str]:
    return {knob["name"]: knob["status"] for knob in result["knobs"]}


def test_arguments_reach_the_next_boot_and_a_reboot_is_asked_for(host: BootHost) -> None:
    result = host.converge("skew_tick=1", "nohz_full=3")
    assert result["changed"]
    assert result["reboot_required"]
    assert result["awaiting_boot"] == ["+skew_tick=1", "+nohz_full=3"]
    assert {"skew_tick=1", "nohz_full=3", "quiet", host.own} <= set(host.next_boot())

    again = host.converge("skew_tick=1", "nohz_full=3")
    assert not again["changed"]
    assert again["reboot_required"]

    host.boot()
    host.put("/sys/devices/system/cpu/nohz_full", "3")
    after = host.converge("skew_tick=1", "nohz_full=3")
    assert not after["changed"]
    assert not after["reboot_required"]
    assert statuses(after) == {"skew_tick": "already", "nohz_full": "already"}


@pytest.mark.parametrize("shown", ["", "(null)"])
def test_an_argument_the_running_kernel_was_built_without_is_a_no_op(host: BootHost, shown: str) -> None:
    host.converge("nohz_full=3")
    host.put("/sys/devices/system/cpu/nohz_full", shown)
    host.boot()
    assert statuses(host.converge("nohz_full=3")) == {"nohz_full": "no_op"}


def test_check_mode_writes_nothing_and_foretells(host: BootHost) -> None:
    before = host.snapshot()
    assert host.converge("skew_tick=1", check=True)["changed"]
    assert host.snapshot() == before


def test_arguments_that_did_not_come_with_a_boot_are_an_error_and_no_reason_for_another(host: BootHost) -> None:
    assert host.converge("skew_tick=1", "quiet")["reboot_required"]
    assert host.converge("skew_tick=1", "quiet")["reboot_required"], "nobody has booted yet"
    host.boot_by_something_else()
    before = host.snapshot()
    with pytest.raises(TuningError, match=r"boot arguments skew_tick=1 did not come with the last boot"):
        host.converge("skew_tick=1", "quiet")
    assert host.snapshot() == before
    assert host.converge("tsc=reliable")["reboot_required"], "another wish has a boot of its own"
    host.boot()
    assert not host.converge("tsc=reliable")["reboot_required"]


def test_arguments_that_nobody_noted_a_boot_for_have_one_more(host: BootHost) -> None:
    host.converge("skew_tick=1")
    record = host.place("/var/lib/os-tuning/kernel_cmdline.json")
    record.write_text('{"added": ["skew_tick=1"], "replaced": []}')
    host.boot_by_something_else()
    assert host.converge("skew_tick=1")["reboot_required"]
    host.boot_by_something_else()
    with pytest.raises(TuningError, match="did not come"):
        host.converge("skew_tick=1")


def test_a_later_file_that_drops_the_arguments_is_named_before_any_reboot(tmp_path: Path) -> None:
    host = DebianHost(tmp_path)
    host.put("/etc/default/grub.d/99-cloud.cfg", 'GRUB_CMDLINE_LINUX_DEFAULT="console=tty0"')
    command([host.tools.update_grub])
    host.boot()
    before = host.next_boot()
    with pytest.raises(TuningError, match=r"has no skew_tick=1 after .*/grub\.d/99-cloud\.cfg is read"):
        host.converge("skew_tick=1")
    assert host.next_boot() == before
    assert not host.place(DROP_IN).exists()


def test_arguments_with_a_quotation_mark_that_nothing_closes_are_read(tmp_path: Path) -> None:
    host = DebianHost(tmp_path, own="dyndbg=it's")
    host.put(GRUB_CFG, "\tlinux\t/boot/vmlinuz-6.1 root=UUID=1 ro dyndbg=it's quiet")
    assert statuses(host.converge("quiet", check=True)) == {"quiet": "already"}


def test_an_empty_list_brings_every_file_back(host: BootHost) -> None:
    before = host.snapshot()
    host.converge("skew_tick=1", "nohz_full=3")
    host.boot()
    back = host.converge()
    assert back["changed"]
    assert back["awaiting_boot"] == ["-skew_tick=1", "-nohz_full=3"]
    assert host.converge()["reboot_required"]
    assert not host.converge()["changed"]

    host.boot()
    assert not host.converge()["reboot_required"]
    after = {**host.snapshot(), BOOT_ID: before[BOOT_ID]}
    assert {path: " ".join(text.split()) for path, text in after.items()} == {
        path: " ".join(text.split()) for path, text in before.items()
    }


@pytest.mark.parametrize("kind", [DebianHost, GrubbyHost])
def test_the_hosts_own_argument_of_the_same_name_is_replaced_and_comes_back(
    kind: type[BootHost], tmp_path: Path
) -> None:
    host = kind(tmp_path, own="nohz_full=1-2")
    host.converge("nohz_full=3")
    assert "nohz_full=3" in host.next_boot()
    assert "nohz_full=1-2" not in host.next_boot()
    assert not host.converge("nohz_full=3")["changed"]
    host.converge()
    assert "nohz_full=1-2" in host.next_boot()
    assert "nohz_full=3" not in host.next_boot()
    assert not host.converge()["changed"]


def test_an_argument_the_host_already_had_is_not_taken_away(host: BootHost) -> None:
    assert statuses(host.converge("quiet")) == {"quiet": "already"}
    host.converge()
    assert "quiet" in host.next_boot()


def test_a_changed_wish_replaces_our_own_argument(host: BootHost) -> None:
    host.converge("nohz_full=3")
    host.converge("nohz_full=2-3")
    assert "nohz_full=3" not in host.next_boot()
    assert "nohz_full=2-3" in host.next_boot()
    host.converge()
    assert not [argument for argument in host.next_boot() if argument.startswith("nohz_full")]


def test_never_is_refused_by_name_or_by_value(host: BootHost) -> None:
    never = [{"name": "idle=poll", "reason": "burns the sibling"}, {"name": "mitigations", "reason": "opens the host"}]
    result = host.converge("idle=poll", "mitigations=off", "idle=halt", never=never)
    assert statuses(result)["mitigations"] == "refused"
    assert [knob["status"] for knob in result["knobs"] if knob["value"] == "idle=poll"] == ["refused"]
    assert "idle=halt" in host.next_boot()
    assert "idle=poll" not in host.next_boot()


@pytest.mark.parametrize("argument", ["a b", 'x="1"', "x=$(reboot)", "x=`id`", "", "x='1'", "x=1|2", "x\\n"])
def test_what_is_no_plain_argument_is_an_error(host: BootHost, argument: str) -> None:
    before = host.snapshot()
    with pytest.raises(TuningError, match="boot argument"):
        host.converge(argument)
    assert host.snapshot() == before


def test_an_argument_twice_is_an_error(host: BootHost) -> None:
    with pytest.raises(TuningError, match="twice"):
        host.converge("nohz_full=1", "nohz-full=2")


def test_a_host_without_boot_loader_is_not_applicable(tmp_path: Path) -> None:
    host = BootHost(tmp_path)
    result = host.converge("skew_tick=1")
    assert statuses(result) == {"skew_tick": "not_applicable"}
    assert not result["changed"]
    assert not result["reboot_required"]


def test_a_failing_update_grub_is_told_in_one_line_and_the_drop_in_is_as_before(tmp_path: Path) -> None:
    host = DebianHost(tmp_path)
    host.put("/fail", "")
    with pytest.raises(TuningError, match=r"failed \(1\): grub-mkconfig: no space left"):
        host.converge("skew_tick=1")
    assert not host.place(DROP_IN).exists()
    host.place("/fail").unlink()
    host.converge("skew_tick=1")
    assert "skew_tick=1" in host.next_boot()


def test_a_run_killed_before_update_grub_is_finished_by_the_next(tmp_path: Path) -> None:
    host = DebianHost(tmp_path)
    menu = host.text(GRUB_CFG)
    host.converge("skew_tick=1")
    host.put(GRUB_CFG, "\t" + menu)
    assert host.converge("skew_tick=1")["changed"]
    assert "skew_tick=1" in host.next_boot()


def test_a_way_back_killed_before_its_end_is_finished_by_the_next(tmp_path: Path) -> None:
    host = DebianHost(tmp_path)
    host.converge("skew_tick=1")
    drop_in = host.text(DROP_IN)
    host.converge()
    host.put(DROP_IN, drop_in)  # killed after update-grub, before the drop-in was removed
    assert host.converge()["changed"]
    assert not host.place(DROP_IN).exists()
    assert "skew_tick=1" not in host.next_boot()


def test_grubby_without_arguments_in_its_output_is_named() -> None:
    with pytest.raises(TuningError, match="--info=DEFAULT"):
        Grubby(lambda _: (1, "", "Permission denied"), "/usr/sbin/grubby").arguments()


def test_a_damaged_record_is_named(host: BootHost) -> None:
    host.put("/var/lib/os-tuning/kernel_cmdline.json", "{")
    with pytest.raises(TuningError, match=r"kernel_cmdline\.json: is damaged"):
        host.converge("skew_tick=1")


def test_a_damaged_note_of_what_was_removed_is_named(host: BootHost) -> None:
    host.put("/run/os-tuning-removed-arguments.json", "{")
    before = host.next_boot()
    with pytest.raises(TuningError, match=r"removed-arguments\.json: is damaged"):
        host.converge("skew_tick=1")
    assert host.next_boot() == before


def test_a_full_disk_is_named_and_the_host_boots_as_before(host: BootHost) -> None:
    before = host.snapshot()
    with full_disk(), pytest.raises(TuningError, match=r"kernel_cmdline\.json: cannot be written"):
        host.converge("skew_tick=1")
    assert host.snapshot() == before


def test_a_boot_loader_that_is_gone_after_arguments_were_added_is_named(host: BootHost) -> None:
    host.converge("skew_tick=1")
    host.tools = kernel_cmdline.Tools("", "")
    with pytest.raises(TuningError, match=r"neither update-grub nor grubby.*skew_tick=1"):
        host.converge()


@pytest.fixture
def whole(host: BootHost, monkeypatch: pytest.MonkeyPatch) -> BootHost:
    """Let the module's `main` function use this fake host. It finds no program except the boot loader's."""
    host.stand_in(monkeypatch, kernel_cmdline)

    def which(name: str, path: str) -> str | None:
        assert path == "/usr/sbin:/sbin:/usr/bin:/bin"
        return shutil.which(name, path=str(host.root))

    monkeypatch.setattr(kernel_cmdline, "shutil", SimpleNamespace(which=which))
    return host


def test_the_programs_are_found_where_a_host_keeps_them(whole: BootHost) -> None:
    assert kernel_cmdline.Tools.found() == whole.tools


def test_the_module_adds_and_takes_back_as_its_parameters_say(whole: BootHost, run_module: RunModule) -> None:
    before, at_first = whole.snapshot(), whole.next_boot()
    never = [{"name": "idle=poll", "reason": "burns the sibling"}]
    wish: dict[str, Any] = {"arguments": ["skew_tick=1", "idle=poll"], "never": never}
    assert run_module("kernel_cmdline", check=True, **wish)["changed"] is True
    assert whole.snapshot() == before
    report = run_module("kernel_cmdline", **wish)
    assert statuses(report) == {"skew_tick": "applied", "idle": "refused"}
    assert report["awaiting_boot"] == ["+skew_tick=1"]
    assert "skew_tick=1" in whole.next_boot()
    assert run_module("kernel_cmdline", arguments=[])["changed"] is True
    assert whole.next_boot() == at_first


def test_the_module_says_in_one_line_what_is_no_argument(whole: BootHost, run_module: RunModule) -> None:
    before = whole.snapshot()
    report = run_module("kernel_cmdline", arguments=["x=$(reboot)"])
    assert report["failed"] is True
    assert "boot argument" in report["msg"]
    assert whole.snapshot() == before
