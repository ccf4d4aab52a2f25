"""The person at the other end of an administration socket, and the commands that this person may give.

The kernel reports which user connected, and in which groups that process is; nothing that the other end sends is
trusted. The groups with a role are looked up once, before orders come. A user's name is looked up when the user first
connects; orders wait for this once. The log uses the same name from then on.
"""

from __future__ import annotations

import functools
import grp
import os
import pwd
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SOCKET = Path("/run/trading-admin/admin.sock")
"""The socket for people, unless the variable names another. The host decides who may enter its directory."""
PEOPLE_VARIABLE = "TRADING_ADMIN_PEOPLE"
"""The variable that names the socket for people. The engine's unit sets it on a host that has people."""


def socket_of(partition: str) -> Path:
    """Return the socket for people of a partition's engine, or with an empty name that of the host's only engine.

    Raises ValueError for a text that cannot be a partition's name.
    """
    path = Path(os.environ.get(PEOPLE_VARIABLE, SOCKET))
    return path.with_name(f"{path.stem}-{partition}{path.suffix}") if partition else path


EVERYTHING = "root"
_SHOWN = frozenset({"status"})
_COMMANDS = {"observer": _SHOWN, "operator": _SHOWN | {"halt", "resume", "kill", "unkill"}}
"""The commands of each role. Root and the engine's own user may give every command."""
# The role with the most rights comes first. A deployer is root through sudo, and an operator without it.
_GROUPS = {"trading-deployer": "operator", "trading-operator": "operator", "trading-observer": "observer"}

_CREDENTIALS = struct.Struct("3i")  # ucred: process, user, group
_PEER_GROUPS = 59  # SO_PEERGROUPS; Python has no name for it
_MOST_BYTES = 1024  # which getsockopt of Python returns


@dataclass(frozen=True, slots=True)
class Person:
    """A user and a role: one of _COMMANDS, EVERYTHING, or empty for a user without one."""

    name: str
    role: str

    def may(self, command: object) -> bool:
        return self.role == EVERYTHING or (isinstance(command, str) and command in _COMMANDS.get(self.role, ()))


def roles_by_group() -> dict[int, str]:
    """Return the role of each group that has one, by the group's number; the role with the most rights comes first."""
    roles: dict[int, str] = {}
    for name, role in _GROUPS.items():
        try:
            roles.setdefault(grp.getgrnam(name).gr_gid, role)
        except KeyError:
            continue
    return roles


def person_at(connection: socket.socket, roles: Mapping[int, str]) -> Person:
    """Return the person who connected, with the first of `roles` whose group the process is in.

    Raises OSError when the kernel does not say.
    """
    _process, user, group = _CREDENTIALS.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    if user in (0, os.geteuid()):
        return Person(_name_of(user), EVERYTHING)
    others = connection.getsockopt(socket.SOL_SOCKET, _PEER_GROUPS, _MOST_BYTES)
    groups = {group, *struct.unpack(f"{len(others) // 4}I", others)}
    return Person(_name_of(user), next((role for number, role in roles.items() if number in groups), ""))


@functools.lru_cache(maxsize=256)
def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
