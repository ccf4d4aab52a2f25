"""Functions that turn security groups and public addresses into nftables rules in the router's network namespace.

Machines cannot change rules there. As on AWS, a packet passes when a rule allows it, or when it answers an allowed
packet. All other packets are dropped silently. The metadata address belongs to the router, and security groups do not
apply to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

ANYWHERE = IPv4Network("0.0.0.0/0")


@dataclass(frozen=True)
class Rule:
    """One permission of a security group: a protocol, a port range, and the peers.

    The protocol `-1` means every protocol. For ICMP the port range is type and code. A group as peer matches its
    members' private addresses only ("Security group referencing" in the VPC user guide). On AWS a packet that was sent
    to a public address has another source address.
    """

    protocol: str
    from_port: int | None
    to_port: int | None
    peers: tuple[IPv4Network, ...]
    members: tuple[IPv4Network, ...] = ()
    group: str = ""


@dataclass(frozen=True)
class Guarded:
    """A machine's network link, its private and public address, and the rules of all its security groups."""

    link: str
    private_address: IPv4Address
    public_address: str | None
    ingress: tuple[Rule, ...]
    egress: tuple[Rule, ...]


@dataclass(frozen=True)
class Balanced:
    """A load balancer's address in the router, its security groups, and the rules of these groups.

    The rules are None for a balancer without a security group.
    """

    address: str
    groups: frozenset[str]
    ingress: tuple[Rule, ...] | None
    keeps_clients: bool = True


# The mark of a connection that a load balancer made with its client's address. By it replies return to the router.
MARK = 1


def render(machines: Sequence[Guarded], balancers: Sequence[Balanced] = ()) -> str:
    """Return the nft script that replaces all earlier rules in one step."""
    chains = [line for machine in machines for line in _chains(machine)]
    jumps = [f'    iifname "{machine.link}" jump from-{machine.link}' for machine in machines]
    jumps += [f'    oifname "{machine.link}" goto to-{machine.link}' for machine in machines]
    lines = [
        "table inet ec2",
        "delete table inet ec2",
        "table inet ec2 {",
        *_translation(machines),
        *chains,
        "  chain forward {",
        "    type filter hook forward priority filter; policy drop;",
        "    ct state established,related accept",
        *jumps,
        '    iifname "vm-*" oifname "up-*" accept',
        "  }",
        *(_balancing(machines, balancers) if balancers else []),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _balancing(machines: Sequence[Guarded], balancers: Sequence[Balanced]) -> list[str]:
    """Return the lines of the nft chains for load balancers.

    Balancers run in the router, so the router does not forward their packets, and the chains for forwarded packets do
    not see them. A machine's rules apply to packets to and from a balancer. If the balancer uses the client's address,
    the rules are compared with that address. A rule for the balancer's own group allows all packets that come through
    the balancer. Source: "Update the security groups for your Network Load Balancer".
    """
    addresses = ", ".join(balancer.address for balancer in balancers)
    lines = [
        "  chain balancer-in {",
        "    type filter hook input priority filter; policy accept;",
        "    ct state established,related accept",
        *(f'    iifname "{each.link}" ip daddr {{ {addresses} }} jump from-{each.link}' for each in machines),
    ]
    for balancer in (each for each in balancers if each.ingress is not None):
        allowed = [match for rule in balancer.ingress or () for match in _matches(rule, "saddr")]
        lines += [f"    ip daddr {balancer.address} {match}accept" for match in allowed]
        lines.append(f"    ip daddr {balancer.address} drop")
    lines += ["  }", "  chain balancer-out {", "    type filter hook output priority filter; policy accept;"]
    lines.append("    ct state established,related accept")
    own_groups = {group for balancer in balancers for group in balancer.groups}
    marks = any(balancer.keeps_clients for balancer in balancers)
    for machine in machines:
        if marks:
            lines.append(f'    oifname "{machine.link}" ct mark set {MARK}')
        through = [rule for rule in machine.ingress if rule.group and rule.group in own_groups]
        lines += [f'    oifname "{machine.link}" {_protocol(rule)}accept' for rule in through]
        lines.append(f'    oifname "{machine.link}" goto to-{machine.link}')
    lines.append("  }")
    if marks:
        lines += [
            "  chain balancer-back {",
            "    type filter hook prerouting priority mangle; policy accept;",
            f"    ct direction reply ct mark {MARK} meta mark set {MARK}",
            "  }",
        ]
    return lines


def _translation(machines: Sequence[Guarded]) -> list[str]:
    """Return the nft chain that translates public addresses of incoming packets, as AWS's internet gateway does.

    So a machine never sees its public address.
    """
    pairs = [f"{m.public_address} : {m.private_address}" for m in machines if m.public_address]
    if not pairs:
        return []
    return [
        "  chain public {",
        "    type nat hook prerouting priority dstnat;",
        f"    dnat ip to ip daddr map {{ {', '.join(pairs)} }}",
        "  }",
    ]


def _chains(machine: Guarded) -> list[str]:
    outgoing = [f"    {match}return" for rule in machine.egress for match in _matches(rule, "daddr")]
    incoming = [f"    {match}accept" for rule in machine.ingress for match in _matches(rule, "saddr")]
    return [
        *(f"  chain from-{machine.link} {{", *outgoing, "    drop", "  }"),
        *(f"  chain to-{machine.link} {{", *incoming, "    drop", "  }"),
    ]


def _matches(rule: Rule, side: str) -> list[str]:
    """Return the conditions of a rule in nft's language: one for its networks, one for the members of its groups.

    Each ends with a space.
    """
    peers = [""] if ANYWHERE in rule.peers else _addresses(side, rule.peers)
    members = [f"ct status & dnat == 0 {match}" for match in _addresses(side, rule.members)]
    return [match + _protocol(rule) for match in peers + members]


def _addresses(side: str, networks: tuple[IPv4Network, ...]) -> list[str]:
    return [f"ip {side} {{ {', '.join(map(str, sorted(set(networks))))} }} "] if networks else []


def _protocol(rule: Rule) -> str:
    if rule.protocol == "-1":
        return ""
    if rule.protocol in ("tcp", "udp"):
        if rule.from_port in (None, -1):
            return f"meta l4proto {rule.protocol} "
        return f"{rule.protocol} dport {rule.from_port}-{rule.to_port} "
    if rule.protocol == "icmp" and rule.from_port not in (None, -1):
        return f"icmp type {rule.from_port} "
    return f"meta l4proto {rule.protocol} "
