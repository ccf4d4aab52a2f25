# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Diagnosis rules for failed connections. They follow a packet's path from the engine's process to the controller."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.lowlatency.trading.plugins.module_utils.diagnosis.causes import (
    CONNECT,
    LATENCY,
    Cause,
    Readings,
)

_OPEN, _SILENT = "open", "silent"


def _latched(readings: Readings) -> Iterator[Cause]:
    failure = readings.get("engine", {}).get("failure", "")
    if failure:
        yield Cause(
            "the engine has failed and answers nobody", (CONNECT, LATENCY), 93, (failure,),
            "repair what it names, then restart trading-engine: what was acknowledged comes back",
        )  # fmt: skip


def _refused_meanwhile(readings: Readings) -> dict[str, int]:
    """Return the packets that the host's firewall refused while the controller tried the host's ports.

    The result is a dictionary: reason → number of packets.
    """
    before, after = readings.get("refused_before", {}), readings.get("firewall", {}).get("refused", {})
    grown = {name: count - before.get(name, 0) for name, count in after.items()}
    return {name: count for name, count in grown.items() if count > 0}


def _weight(readings: Readings, port: str, weight: int) -> int:
    """Return the weight of a cause: the given one, or 50 when clients use the port.

    The controller may be outside the clients' networks, so a closed client port is only a hint.
    """
    return 50 if port in readings.get("client_ports", []) else weight


def _listens(readings: Readings, port: str) -> list[str]:
    return [str(each["address"]) for each in readings.get("ports", {}).get(port, [])]


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address in ("[::1]", "::1")


def _bound_to_loopback(readings: Readings) -> Iterator[Cause]:
    for port, way in readings.get("ways", {}).items():
        addresses = _listens(readings, port)
        if way != _OPEN and addresses and all(map(_is_loopback, addresses)):
            yield Cause(
                f"port {port} listens on loopback alone", (CONNECT,), 90,
                (f"{', '.join(addresses)}:{port}", f"from the controller port {port} is {way}"),
                "set the service's bind address, then configure.yml",
            )  # fmt: skip


def _firewall(readings: Readings) -> Iterator[Cause]:
    refused = _refused_meanwhile(readings)
    closed = [port for port, way in readings.get("ways", {}).items() if way == _SILENT and _listens(readings, port)]
    if closed and refused.keys() & {"unknown_source", "undeclared_port", "too_many_connections"}:
        yield Cause(
            "the host's firewall refuses the controller's network", (CONNECT,),
            max(_weight(readings, port, 93) for port in closed),
            (
                f"from the controller, silent: port {', '.join(closed)}",
                *(f"refused while it was tried: {count} ({name})" for name, count in refused.items()),
            ),
            "put who connects into trading_operator_cidr or trading_client_cidrs, then run configure.yml",
        )  # fmt: skip


def _before_the_host(readings: Readings) -> Iterator[Cause]:
    refused = _refused_meanwhile(readings)
    admitted, denied = readings.get("ports_of_group"), readings.get("ports_denied", [])
    for port, way in readings.get("ways", {}).items():
        if way != _SILENT or not _listens(readings, port) or all(map(_is_loopback, _listens(readings, port))):
            continue
        if port in denied:
            yield Cause(
                f"the subnet's network ACL refuses port {port}", (CONNECT,), _weight(readings, port, 96),
                (f"an entry denies TCP {port}",),
                "this collection makes no network ACL: whoever changed it has to let the port in",
            )  # fmt: skip
        elif admitted is not None and port not in admitted:
            yield Cause(
                f"the security group does not let port {port} in", (CONNECT,), _weight(readings, port, 95),
                (f"it lets in {', '.join(sorted(admitted)) or 'nothing'}", f"port {port} is silent"),
                "declare who connects (trading_operator_cidr, trading_client_cidrs), then provision.yml",
            )  # fmt: skip
        elif not refused:
            yield Cause(
                f"something before the host drops packets to port {port}", (CONNECT,), _weight(readings, port, 65),
                (f"the host listens on {port}", "its own firewall refused nothing while it was tried"),
                "look at the security group, the network ACL and the route between controller and host",
            )  # fmt: skip


RULES = (
    _latched,
    _bound_to_loopback,
    _firewall,
    _before_the_host,
)
