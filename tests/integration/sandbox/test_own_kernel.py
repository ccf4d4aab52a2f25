"""A machine with a kernel of its own: what is set there holds there only, and boot arguments hold after a reboot.

Emulated on a busy machine this takes minutes; the limits bound a failure and are no expectation of speed.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Cloud, clouds, eventually

BOOT_LIMIT_SECONDS = 1200.0
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


def test_boot_arguments_hold_after_the_machines_own_reboot(qemu: Cloud, instance: dict[str, Any]) -> None:
    address = instance["PrivateIpAddress"]
    before = qemu.answer(address, "cat /proc/cmdline")
    setting = 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX skew_tick=1"'
    qemu.answer(address, f"echo '{setting}' | sudo tee /etc/default/grub.d/tick.cfg >/dev/null; sudo update-grub")
    qemu.ssh(address, "sudo reboot")
    eventually(lambda: "skew_tick=1" in qemu.ssh(address, "cat /proc/cmdline").stdout, BOOT_LIMIT_SECONDS)
    assert qemu.answer(address, "cat /proc/cmdline").split() == [*before.split(), "skew_tick=1"]
