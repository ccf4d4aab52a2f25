from ipaddress import IPv4Address, IPv4Network

import pytest
from embedded_ec2.errors import SandboxError
from embedded_ec2.network import Leg, Subnet
from embedded_ec2.qemu import parse_boot_arguments, render_network

# A shortened copy of update-grub in Debian 12.
GRUB_CONFIGURATION = """\
set default="0"
menuentry 'Debian' --class debian {
\tinsmod ext2
\tlinux\t/boot/vmlinuz-6.1.0-40-cloud-amd64 root=UUID=6c0f ro console=ttyS0  isolcpus=1
\tinitrd\t/boot/initrd.img-6.1.0-40-cloud-amd64
}
submenu 'Advanced options' {
\tmenuentry 'old' {
\t\tlinux\t/boot/vmlinuz-6.1.0-39-cloud-amd64 root=UUID=6c0f ro
\t}
}
"""


def test_the_first_entrys_arguments_are_taken_with_single_blanks() -> None:
    assert parse_boot_arguments(GRUB_CONFIGURATION) == "root=UUID=6c0f ro console=ttyS0 isolcpus=1"


def test_a_configuration_without_a_kernel_is_refused() -> None:
    with pytest.raises(SandboxError, match="no `linux` line"):
        parse_boot_arguments("set default=0\n")


def test_the_interface_is_found_by_the_apis_hardware_address() -> None:
    leg = Leg("i-1", Subnet("subnet-1", IPv4Network("10.0.1.0/24")), "02:00:00:aa:bb:cc", IPv4Address("10.0.1.4"))
    lines = render_network(leg).splitlines()
    assert "MACAddress=02:00:00:aa:bb:cc" in lines
    assert "Address=10.0.1.4/24" in lines
    assert "Gateway=10.0.1.1" in lines
