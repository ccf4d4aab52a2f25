"""The sandbox's network. A network namespace acts as the VPC's router.

The router has a link to each machine, and one link to this computer for each subnet in use. As in a VPC, no two
machines are on the same link. The router answers every ARP request itself, and every packet passes through it. So
security groups also apply between machines of one subnet, and a machine cannot take the address of another.

The links to machines are inside the router's namespace. So this computer's own firewall, forwarding and routes are
neither used nor changed. This computer only gets one device per subnet, with the subnet's first address and the routes
to it. While a device is missing, `unreachable` routes of a high metric keep packets from taking another route.
"""

import ctypes
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_network
from pathlib import Path

from embedded_ec2.commands import in_netns, ip_json, run, succeeds
from embedded_ec2.errors import SandboxError
from embedded_ec2.firewall import MARK, render
from embedded_ec2.ledger import Ledger

PUBLIC_RANGE = IPv4Network("203.0.113.0/24")  # TEST-NET-3: belongs to nobody (RFC 5737)
SLOT_PREFIX = 27
SLOTS = 2 ** (SLOT_PREFIX - PUBLIC_RANGE.prefixlen)
METADATA_ADDRESS = "169.254.169.254"
MACHINE_INTERFACE = "ens5"
APT_SOURCES = Path("/etc/apt")
LAST_RESORT_METRIC = 4278198272  # the kernel's metric for a route of last resort

REPLY_TABLE = 100
MARKING = f"""
table inet probe {{
  chain out {{
    type filter hook output priority filter
    ct mark set {MARK}
  }}
  chain back {{
    type filter hook prerouting priority mangle
    ct direction reply ct mark {MARK} meta mark set {MARK}
  }}
}}
"""


CLONE_NEWNET = 0x40000000


def public_slot(slot: int) -> IPv4Network:
    """Return the range of public addresses of the n-th sandbox on this computer. No two sandboxes share an address."""
    return list(PUBLIC_RANGE.subnets(new_prefix=SLOT_PREFIX))[slot]


def slots_in_use_otherwise(
    files: tuple[Path, ...] = (Path("/etc/hosts"), Path("/etc/resolv.conf")), apt_sources: Path = APT_SOURCES
) -> set[int]:
    """Return the numbers of the slots with an address that this computer uses for something else.

    A slot is a range of public addresses. A test network may use addresses of the documentation range for its own
    hosts, and these must stay reachable.
    """
    words = " ".join(file.read_text(errors="replace") for file in files if file.exists()).split()
    words += [row["dst"] for row in ip_json("-4", "route", "show", "table", "main") if row.get("type") != "unreachable"]
    words += [address for name in _package_hosts(apt_sources) for address in _addresses_of(name)]
    used = set()
    for word in words:
        try:
            network = IPv4Network(word, strict=False)
        except ValueError:
            continue
        if network.subnet_of(PUBLIC_RANGE):
            used |= {slot for slot in range(SLOTS) if network.overlaps(public_slot(slot))}
    return used


def _package_hosts(apt_sources: Path) -> set[str]:
    """Return the names of the servers from which apt gets packages."""
    files = [*apt_sources.glob("sources.list"), *apt_sources.glob("sources.list.d/*")]
    return {host for file in files for host in re.findall(r"https?://([^/:\s]+)", file.read_text(errors="replace"))}


def _addresses_of(name: str) -> list[str]:
    try:
        return [str(entry[4][0]) for entry in socket.getaddrinfo(name, None, socket.AF_INET)]
    except OSError:
        return []  # without a name service no package server is reachable


@contextmanager
def inside(netns: str) -> Iterator[None]:
    """Move the calling thread into another network namespace for the time of the `with` block.

    New sockets of the thread belong to that namespace.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(descriptor: int) -> None:
        if libc.setns(descriptor, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter network namespace {netns}")

    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{netns}") as there:
        enter(there.fileno())
        try:
            yield
        finally:
            enter(home.fileno())


def conflict_with_host(cidr: IPv4Network, own_links: frozenset[str]) -> str | None:
    """Return why the sandbox's machines cannot use a subnet, or None if they can.

    A subnet must be private, and unused on this computer.
    """
    if not cidr.is_private or cidr.overlaps(PUBLIC_RANGE):
        return f"{cidr} is not a private range (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16)"
    for row in ip_json("-4", "route", "show", "table", "main"):
        if row["dst"] == "default" or row.get("dev") in own_links or row.get("type") == "unreachable":
            continue
        if cidr.overlaps(ip_network(row["dst"])):
            return f"{cidr} overlaps {row['dst']}, which this machine reaches through {row.get('dev', 'another route')}"
    return None


@dataclass(frozen=True)
class Subnet:
    """A subnet that was created through EC2's API, and in which at least one instance runs.

    Its network devices are named after its id, because no other sandbox has a subnet with this id.
    """

    id: str
    cidr: IPv4Network

    @property
    def host_link(self) -> str:
        return f"ec2-{self.id[-11:]}"

    @property
    def router_link(self) -> str:
        return f"up-{self.id[-11:]}"

    @property
    def gateway(self) -> IPv4Address:
        """This computer's own address in the subnet. As on AWS, no instance gets the first address."""
        return self.cidr[1]

    @property
    def router(self) -> IPv4Address:
        """The router's address in the subnet. As on AWS, no instance gets the second address."""
        return self.cidr[2]


@dataclass(frozen=True)
class Leg:
    """A machine's network link and its addresses."""

    instance_id: str
    subnet: Subnet
    mac: str
    private_address: IPv4Address

    @property
    def netns(self) -> str:
        return self.instance_id

    @property
    def router_link(self) -> str:
        return router_link(self.instance_id)


class Router:
    """The router of the sandbox's network. Its methods make and remove the parts of the network.

    Each part is recorded in the ledger before it is made.
    """

    def __init__(self, name: str, slot: int, ledger: Ledger) -> None:
        self.netns = f"ec2-{name}"
        self.slot = slot
        # Each sandbox has its own metric. So two sandboxes can have routes for the same addresses, and the removal of
        # one sandbox does not remove the other's route.
        self._metric = LAST_RESORT_METRIC + slot
        self._ledger = ledger
        self._rules = ""
        self._subnets: dict[str, Subnet] = {}

    def open(self) -> None:
        """Make the router's namespace with the metadata address, and with a firewall that drops all packets."""
        self._ledger.add("netns-directory", "/run/netns")
        self._ledger.add("netns", self.netns)
        run("ip", "netns", "add", self.netns)
        run("ip", "-n", self.netns, "link", "set", "lo", "up")
        run("ip", "-n", self.netns, "address", "add", f"{METADATA_ADDRESS}/32", "dev", "lo")
        # This sets forwarding in the router's namespace only, not on this computer.
        self._set("net.ipv4.ip_forward=1")
        self.guard(render([]))

    def _keep_in(self, addresses: IPv4Network) -> None:
        """Keep packets to these addresses from leaving by the default route, until the sandbox is removed."""
        route = f"unreachable {addresses} metric {self._metric}"
        self._ledger.add("route", route)
        run("ip", "route", "replace", *route.split())

    @property
    def host_links(self) -> frozenset[str]:
        return frozenset(subnet.host_link for subnet in self._subnets.values())

    def connect(self, subnet: Subnet) -> None:
        """Connect a subnet's part of the router with this computer, which gets the subnet's gateway address.

        Raises SandboxError when this computer uses the subnet's addresses for something else.
        """
        if subnet.id in self._subnets:
            return
        reason = conflict_with_host(subnet.cidr, self.host_links)
        if reason:
            raise SandboxError(f"subnet {subnet.id} cannot have machines here: {reason}; choose another CIDR block")
        self._keep_in(subnet.cidr)
        self._ledger.add("link", subnet.host_link)
        peer = ("peer", "name", subnet.router_link, "netns", self.netns)
        run("ip", "link", "add", subnet.host_link, "type", "veth", *peer)
        own_side = ("address", "add", str(subnet.router), "peer", str(subnet.gateway), "dev", subnet.router_link)
        run("ip", "-n", self.netns, *own_side)
        run("ip", "-n", self.netns, "link", "set", subnet.router_link, "up")
        self._answer_for_others(subnet.router_link)
        run("ip", "address", "add", f"{subnet.gateway}/{subnet.cidr.prefixlen}", "dev", subnet.host_link)
        run("ip", "link", "set", subnet.host_link, "up")
        self._subnets[subnet.id] = subnet

    def disconnect_unused(self, in_use: frozenset[str]) -> None:
        """Remove this computer's network devices of all subnets that are not in use."""
        for subnet in [s for s in self._subnets.values() if s.id not in in_use]:
            self._ledger.undo("link", subnet.host_link)
            del self._subnets[subnet.id]

    def plug_in_namespace(self, leg: Leg) -> None:
        """Make a container's network namespace, and link it to the router.

        The namespace gets an interface with address and routes.
        """
        self._ledger.add("netns", leg.netns)
        run("ip", "netns", "add", leg.netns)
        run(
            *("ip", "-n", self.netns, "link", "add", leg.router_link, "type", "veth"),
            *("peer", "name", MACHINE_INTERFACE, "address", leg.mac, "netns", leg.netns),
        )
        run("ip", "-batch", "-", "-n", leg.netns, input_text=_machine_network(leg))
        self._bring_up(leg)

    def plug_in_tap(self, leg: Leg) -> None:
        """Make a network link (a tap device) to an emulated machine, which has its own network card."""
        run("ip", "-n", self.netns, "tuntap", "add", "dev", leg.router_link, "mode", "tap")
        self._bring_up(leg)

    def _bring_up(self, leg: Leg) -> None:
        run("ip", "-n", self.netns, "link", "set", leg.router_link, "up")
        self._route(leg, str(leg.private_address))
        self._answer_for_others(leg.router_link)

    def _route(self, leg: Leg, address: str) -> None:
        target = (f"{address}/32", "dev", leg.router_link, "src", str(leg.subnet.router))
        run("ip", "-n", self.netns, "route", "replace", *target)

    def _answer_for_others(self, link: str) -> None:
        """Let the router answer ARP requests on a link for all addresses behind other links, without delay.

        The router drops packets with forged sender addresses on the link.
        """
        settings = (f"conf.{link}.proxy_arp=1", f"neigh.{link}.proxy_delay=0", f"conf.{link}.rp_filter=1")
        self._set(*(f"net.ipv4.{setting}" for setting in settings))

    def _set(self, *settings: str) -> None:
        run(*in_netns(self.netns, ["sysctl", "-q", "-w", *settings]))

    def guard(self, rules: str) -> None:
        """Apply the security groups' rules, an nft script. Before the first script no packet passes."""
        if rules != self._rules:
            run(*in_netns(self.netns, ["nft", "-f", "-"]), input_text=rules)
            self._rules = rules

    def hold(self, address: str) -> None:
        """Add a load balancer's address to the router, which then answers ARP requests for it."""
        succeeds("ip", "-n", self.netns, "address", "add", f"{address}/32", "dev", "lo")

    def release(self, address: str) -> None:
        succeeds("ip", "-n", self.netns, "address", "delete", f"{address}/32", "dev", "lo")

    def bring_replies_back(self) -> bool:
        """Route replies back to a load balancer that has connected with its client's address.

        Return False when this kernel cannot mark connections. The balancer then uses its own address.
        """
        try:
            run(*in_netns(self.netns, ["nft", "--check", "--file", "-"]), input_text=MARKING)
        except SandboxError:
            return False
        run("ip", "-n", self.netns, "rule", "add", "fwmark", str(MARK), "lookup", str(REPLY_TABLE))
        run("ip", "-n", self.netns, "route", "add", "local", "default", "dev", "lo", "table", str(REPLY_TABLE))
        return True

    def unplug(self, instance_id: str) -> None:
        """Remove a machine's link and namespace. The link is removed first, because a namespace may disappear later."""
        succeeds("ip", "-n", self.netns, "link", "delete", router_link(instance_id))
        self._ledger.undo("netns", instance_id)

    def publish(self, leg: Leg, address: str) -> None:
        """Route this computer's packets for a public address to the router, which translates the address."""
        self._keep_in(IPv4Network(address))
        self._route(leg, address)
        route = f"{address}/32 dev {leg.subnet.host_link}"
        self._ledger.add("route", route)
        run("ip", "route", "replace", *route.split())

    def withdraw(self, leg: Leg, address: str) -> None:
        self._ledger.undo("route", f"{address}/32 dev {leg.subnet.host_link}")
        succeeds("ip", "-n", self.netns, "route", "delete", f"{address}/32", "dev", leg.router_link)


def router_link(instance_id: str) -> str:
    return f"vm-{instance_id[-11:]}"


def _machine_network(leg: Leg) -> str:
    """Return the lines for `ip -batch` that configure a container's interface.

    A real instance is configured by DHCP instead.
    """
    return "\n".join(
        [
            "link set lo up",
            f"link set {MACHINE_INTERFACE} up",
            f"address add {leg.private_address}/{leg.subnet.cidr.prefixlen} dev {MACHINE_INTERFACE}",
            f"route add default via {leg.subnet.gateway} src {leg.private_address}",
            "",
        ]
    )
