"""A machine with its own kernel, in which kernel settings and boot arguments can be tested.

Settings change only this kernel, and boot arguments apply after a reboot. Without KVM, these tests take minutes on a
busy machine. The time limits are long, because the tests do not check the speed.
"""

import base64
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.proofs.tuning_host import TuningHost

from .conftest import Cloud, clouds, eventually

BOOT_LIMIT_SECONDS = 1200.0
ROOT = Path(__file__).parents[3]
# A program that sets the same values in the kernel as chrony with `rtcsync`: ADJ_MAXERROR, ADJ_ESTERROR and ADJ_STATUS.
# (In chrony: set_sync_status in sys_timex.c.)
TELL_THE_KERNEL = """
timex = Timex(modes=0x4 | 0x8 | 0x10, maxerror={bound_us}, esterror={offset_us}, status=0)
assert ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex)) != -1
print(_ask_kernel())
"""
HARDEN = ROOT / "tests/integration/tuning/harden.yml"
DIAGNOSE = Path(__file__).with_name("diagnose.yml")
WATCHED = ("identity", "units", "release", "configuration", "sudo")
OWN_KERNEL = [{"ResourceType": "instance", "Tags": [{"Key": "embedded-ec2:machine", "Value": "qemu"}]}]


@pytest.fixture(scope="module")
def qemu(_machines_possible: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    if not shutil.which("qemu-system-x86_64"):
        pytest.skip("no qemu-system-x86_64; `scripts/sandbox up --qemu` installs it")
    for (made,) in clouds({"test-qemu": "10.206.0.0/16"}, tmp_path_factory.mktemp("qemu")):
        made.up("--qemu")
        yield made


@pytest.fixture(scope="module")
def instance(qemu: Cloud) -> dict[str, Any]:
    launched = qemu.run(TagSpecifications=OWN_KERNEL)
    eventually(lambda: "END SSH HOST KEY KEYS" in qemu.console(launched["InstanceId"]), BOOT_LIMIT_SECONDS)
    qemu.trust(launched["InstanceId"])
    return launched


def test_it_boots_as_the_api_says(qemu: Cloud, instance: dict[str, Any]) -> None:
    address = instance["PrivateIpAddress"]
    assert qemu.answer(address, "nproc; cat /sys/class/net/ens5/address").split() == [
        "1",
        instance["NetworkInterfaces"][0]["MacAddress"],
    ]
    assert qemu.answer(instance["PublicIpAddress"], "hostname") == "ip-" + address.replace(".", "-")


def test_a_kernel_setting_is_its_own(qemu: Cloud, instance: dict[str, Any]) -> None:
    here = Path("/proc/sys/vm/swappiness").read_text()
    there = str(int(here) + 7)
    shown = qemu.answer(
        instance["PrivateIpAddress"], f"echo {there} | sudo tee /proc/sys/vm/swappiness; cat /proc/sys/vm/swappiness"
    )
    assert shown.split() == [there, there]
    assert Path("/proc/sys/vm/swappiness").read_text() == here


def test_offset_and_bound_of_the_clock_are_what_its_kernel_was_told(qemu: Cloud, instance: dict[str, Any]) -> None:
    """Telemetry's code reads the clock's offset and error bound that the kernel was given.

    This test changes the kernel's clock values, so it needs a machine with its own kernel. The time daemon is stopped
    during the test, because it would set these values again.
    """
    reader = (ROOT / "files/engine/src/trading_telemetry/clock.py").read_text(encoding="utf-8")
    program = base64.b64encode((reader + TELL_THE_KERNEL.format(bound_us=4321, offset_us=98)).encode()).decode()
    address = instance["PrivateIpAddress"]
    qemu.answer(address, "sudo systemctl stop chrony")
    shown = qemu.answer(address, f"echo {program} | base64 -d | sudo python3 -")
    qemu.answer(address, "sudo systemctl start chrony")
    assert shown.startswith("Clock(source='kernel', offset_us=98.0, bound_us=")
    # The kernel increases the error bound by the clock's possible drift, which is 0.5 ms a second.
    bound_us = float(shown.rstrip(")\n").rpartition("=")[2])
    assert bound_us >= 4321


@pytest.mark.skipif(not os.environ.get("TRADING_PROOF"), reason="a minute and a half: scripts/prove security runs it")
def test_the_kernel_writes_down_who_changes_what_matters(qemu: Cloud, instance: dict[str, Any]) -> None:
    """The kernel's audit log records who changes important files.

    This test needs a machine with its own kernel, because a container has no audit log.
    """
    host = TuningHost(qemu, instance["PrivateIpAddress"]).reached()
    host.play_to_the_end(HARDEN, "--tags", "hardening_audit")
    planted = " ".join(f"{folder}/planted" for folder in ("/opt/trading", "/etc/trading", "/etc/systemd/system"))
    host.shell(f"echo '# planted' >> /etc/sudoers; touch {planted}")
    written = "; ".join(
        f"ausearch --input-logs -k trading-{key} --raw | grep ^type=SYSCALL | tail -1" for key in WATCHED
    )
    lines = host.shell(written).split("\n")  # splitlines() would split at auditd's separators
    assert [f'key="trading-{key}"' in line for key, line in zip(WATCHED, lines, strict=True)] == [True] * len(WATCHED)
    assert {field for line in lines for field in line.split() if field.startswith("auid=")} == {
        "auid=1000"
    }  # the user who called sudo
    again = host.play_to_the_end(HARDEN, "--tags", "hardening_audit")
    assert "changed=0" in again.output
    host.play_to_the_end(HARDEN, "--tags", "hardening_audit", "-e", "hardening_state=absent")
    assert host.shell("auditctl -l") == "No rules"


@pytest.mark.skipif(not os.environ.get("TRADING_PROOF"), reason="a minute and a half: scripts/prove diagnosis runs it")
def test_packets_that_netem_holds_back_are_named_first(qemu: Cloud, instance: dict[str, Any], tmp_path: Path) -> None:
    """When the kernel module netem delays packets, the diagnosis names this cause first.

    This test needs a machine with its own kernel, because the containers' kernel may lack the module.
    """
    host = TuningHost(qemu, instance["PrivateIpAddress"]).reached()
    found = tmp_path / "tuned-causes.json"
    asked = (
        "-e",
        json.dumps({"trading_engine_diagnosis_dir": str(tmp_path), "trading_engine_symptom": "high latency"}),
    )
    host.play_to_the_end(DIAGNOSE, *asked)
    held_back = "packets are held back on purpose"
    assert held_back not in found.read_text(encoding="utf-8")
    host.shell("tc qdisc add dev ens5 root netem delay 20ms")
    try:
        host.play_to_the_end(DIAGNOSE, *asked)
    finally:
        host.shell("tc qdisc del dev ens5 root")
    first = json.loads(found.read_text(encoding="utf-8"))[0]
    assert first["name"] == held_back
    assert "ens5: netem" in first["lines"][0]


def test_boot_arguments_hold_after_the_machines_own_reboot(qemu: Cloud, instance: dict[str, Any]) -> None:
    address = instance["PrivateIpAddress"]
    before = qemu.answer(address, "cat /proc/cmdline")
    setting = 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX skew_tick=1"'
    qemu.answer(address, f"echo '{setting}' | sudo tee /etc/default/grub.d/tick.cfg >/dev/null; sudo update-grub")
    qemu.ssh(address, "sudo reboot")
    eventually(lambda: "skew_tick=1" in qemu.ssh(address, "cat /proc/cmdline").stdout, BOOT_LIMIT_SECONDS)
    assert qemu.answer(address, "cat /proc/cmdline").split() == [*before.split(), "skew_tick=1"]
