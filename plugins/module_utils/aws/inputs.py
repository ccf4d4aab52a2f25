# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that check the inputs of a deployment before anything is created, for the module deployment_inputs.

Each function yields one sentence for each problem. The limits are those of the EC2, IAM and tagging API references.
Names are part of an IAM role's name, which has at most 64 characters. They are also values of tags. A tag's key has at
most 128 characters, and its value at most 256. Allowed are letters, digits, spaces and ``_ . : / = + - @``.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from urllib.parse import urlsplit

_ENVIRONMENT = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_ENVIRONMENT_MAX = 24
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
_TAG_TEXT = re.compile(r"[\w\s.:/=+\-@]*", re.UNICODE)
_EC2_KEY_TYPES = ("ssh-ed25519", "ssh-rsa")
_OWN_TAGS = ("Project", "Environment", "Name", "Role")
_TAGS_MAX = 50 - len(_OWN_TAGS)


def environment_problems(environment: str) -> Iterator[str]:
    """Yield one sentence for each problem of the environment's name."""
    if not _ENVIRONMENT.fullmatch(environment) or len(environment) > _ENVIRONMENT_MAX:
        yield (
            f"trading_environment: {environment!r} cannot be part of every resource's name; "
            f"use at most {_ENVIRONMENT_MAX} lower-case letters, digits and single hyphens, a letter first"
        )


def region_problems(region: str) -> Iterator[str]:
    """Yield one sentence for each problem of the region's name."""
    if not _REGION.fullmatch(region):
        yield f"trading_region: {region!r} is not a region's name such as us-east-1"


def endpoint_problems(region: str, endpoint_url: str) -> Iterator[str]:
    """Yield a problem when an AWS endpoint belongs to another region.

    An endpoint outside AWS is accepted for any region.
    """
    host = urlsplit(endpoint_url).hostname or ""
    regions = [label for label in host.split(".") if _REGION.fullmatch(label)]
    if ".amazonaws.com" in host and regions and region not in regions:
        yield f"trading_region: {region} is not the region of AWS_ENDPOINT_URL, {endpoint_url}; unset it, or change one"


def count_problems(count: int) -> Iterator[str]:
    """Yield one sentence for each problem of the number of hosts."""
    if count < 1:
        yield f"trading_instance_count: {count} is not a number of hosts; give 1 or more, or use destroy.yml"


def hours_problems(hours: Mapping[str, str], spot: bool) -> Iterator[str]:
    """Yield a problem when Spot instances have fixed hours: AWS cannot stop instances of one-time Spot requests."""
    if hours and spot:
        yield "trading_hours: AWS cannot stop and start Spot instances (trading_spot); choose one of the two"


def _networks(
    variable: str,
    cidrs: Sequence[str],
    allow_world: bool,
    parse: Callable[[str], ipaddress.IPv4Network | ipaddress.IPv6Network] = ipaddress.IPv4Network,
    kind: str = "IPv4 network such as 198.51.100.7/32",
) -> Iterator[str]:
    for cidr in cidrs:
        try:
            network = parse(cidr)
        except ValueError as error:
            yield f"{variable}: {cidr!r} is not an {kind} ({error})"
            continue
        if network.prefixlen == 0 and not allow_world:
            yield (
                f"{variable}: {cidr} opens the host to the whole world; "
                "give your own network, or acknowledge it with trading_allow_world=true"
            )


def cidr_problems(operator_cidr: str, client_cidrs: Sequence[str], allow_world: bool) -> Iterator[str]:
    """Yield one sentence for each problem of the networks that may reach the host."""
    if operator_cidr:
        yield from _networks("trading_operator_cidr", [operator_cidr], allow_world)
    else:
        yield (
            "trading_operator_cidr is not set: give the network you work from, for example "
            "-e trading_operator_cidr=$(curl -s https://checkip.amazonaws.com)/32"
        )
    yield from _networks("trading_client_cidrs", client_cidrs, allow_world)


def ipv6_cidr_problems(operator_cidrs: Sequence[str], client_cidrs: Sequence[str], allow_world: bool) -> Iterator[str]:
    """Yield one sentence for each problem of the IPv6 networks that may reach the host.

    The list of IPv6 networks and the list of IPv4 networks may both be empty.
    """
    kind = "IPv6 network such as 2001:db8::/64"
    for variable, cidrs in (
        ("trading_operator_ipv6_cidrs", operator_cidrs),
        ("trading_client_ipv6_cidrs", client_cidrs),
    ):
        yield from _networks(variable, cidrs, allow_world, ipaddress.IPv6Network, kind)


def network_problems(vpc_cidr: str, subnet_cidr: str) -> Iterator[str]:
    """Yield the problems of the IPv4 networks: EC2 allows /16 to /28, and the subnet must be inside the VPC."""
    parsed = []
    for variable, cidr in (("trading_vpc_cidr", vpc_cidr), ("trading_subnet_cidr", subnet_cidr)):
        try:
            network = ipaddress.IPv4Network(cidr)
        except ValueError as error:
            yield f"{variable}: {cidr!r} is not an IPv4 network such as 10.77.0.0/16 ({error})"
            continue
        if not 16 <= network.prefixlen <= 28:
            yield f"{variable}: {cidr} is outside of EC2's /16 to /28"
        parsed.append(network)
    if len(parsed) == 2 and not parsed[1].subnet_of(parsed[0]):
        yield f"trading_subnet_cidr: {subnet_cidr} is not inside trading_vpc_cidr {vpc_cidr}"


def public_key_problems(path: str, text: str | None) -> Iterator[str]:
    """Yield the problems of the SSH public key. ``text`` is the content of the file, or None when it cannot be read."""
    variable = "trading_public_key_file"
    if not path:
        yield (
            f"{variable} is not set: give the file of your SSH public key, for example "
            f"-e {variable}=~/.ssh/id_ed25519.pub (make one with `ssh-keygen -t ed25519`)"
        )
        return
    if text is None:
        yield f"{variable}: {path} cannot be read; make a key with `ssh-keygen -t ed25519`, or name another file"
        return
    if "PRIVATE KEY" in text:
        yield f"{variable}: {path} is a private key, which must stay with you; give its .pub file"
        return
    words = text.split()
    kind = words[0] if words else ""
    if kind not in _EC2_KEY_TYPES:
        yield f"{variable}: {path} holds {kind or 'nothing'!r}; EC2 takes {' and '.join(_EC2_KEY_TYPES)} keys only"
    elif not _is_key_body(kind, words[1] if len(words) > 1 else ""):
        yield f"{variable}: {path} is damaged: what follows {kind} is no {kind} key"


def _is_key_body(kind: str, body: str) -> bool:
    # RFC 4253 section 6.6: the decoded key begins with its type, as a string after its length in 4 bytes.
    try:
        blob = base64.b64decode(body, validate=True)
        (length,) = struct.unpack_from(">I", blob)
    except (binascii.Error, struct.error):
        return False
    return blob[4 : 4 + length] == kind.encode()


def tag_problems(tags: Mapping[str, str]) -> Iterator[str]:
    """Yield one sentence for each problem of the user's own tags."""
    if len(tags) > _TAGS_MAX:
        yield f"trading_tags: {len(tags)} tags are more than the {_TAGS_MAX} that a resource has left beside ours"
    for key, value in tags.items():
        if key.lower().startswith("aws:"):
            yield f"trading_tags: the key {key!r} begins with aws:, which AWS keeps to itself"
        if key in _OWN_TAGS:
            yield f"trading_tags: the key {key!r} is set by this collection; choose another"
        if not 1 <= len(key) <= 128 or not _TAG_TEXT.fullmatch(key):
            yield f"trading_tags: the key {key!r} is not 1 to 128 letters, digits, spaces and _ . : / = + - @"
        if len(str(value)) > 256 or not _TAG_TEXT.fullmatch(str(value)):
            yield f"trading_tags: the value of {key} is not at most 256 letters, digits, spaces and _ . : / = + - @"
