"""Who is at the other end of an administration socket, and what that person may ask for.

The kernel says who connected, and in which groups that process is: nothing that the other end sends is believed, and no
directory of users is asked while orders wait.
"""

from __future__ import annotations

import grp
import os
import pwd
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

SOCKET = Path("/run/trading-admin/admin.sock")
"""Where people ask, unless the variable names another; who may enter its directory is the host's business."""
PEOPLE_VARIABLE = "TRADING_ADMIN_PEOPLE"
"""Names the socket for people to an engine, whose unit sets it where a host has people."""

EVERYTHING = "root"
_SHOWN = frozenset({"status"})
_COMMANDS = {"observer": _SHOWN, "operator": _SHOWN | {"halt", "resume", "kill", "unkill"}}
"""What each role may ask for; root, and the engine's own user, may ask for everything."""
# The most first. Who deploys is root through sudo, and without it an operator.
_GROUPS = {"trading-deployer": "operator", "trading-operator": "operator", "trading-observer": "observer"}

_CREDENTIALS = struct.Struct("3i")  # ucred: process, user, group
_PEER_GROUPS = 59  # SO_PEERGROUPS; Python has no name for it
_MOST_BYTES = 1024  # which getsockopt of Python returns


@dataclass(frozen=True, slots=True)
class Person:
    """`role` is one of _COMMANDS, EVERYTHING, or empty for who has none."""

    name: str
    role: str

    def may(self, command: object) -> bool:
        return self.role == EVERYTHING or (isinstance(command, str) and command in _COMMANDS.get(self.role, ()))


def person_at(connection: socket.socket) -> Person:
    """Return who connected; raises OSError when the kernel does not say."""
    _process, user, group = _CREDENTIALS.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    if user in (0, os.geteuid()):
        return Person(_name_of(user), EVERYTHING)
    others = connection.getsockopt(socket.SOL_SOCKET, _PEER_GROUPS, _MOST_BYTES)
    return Person(_name_of(user), role_in({group, *struct.unpack(f"{len(others) // 4}I", others)}))


def role_in(groups: set[int]) -> str:
    """Return the role of a member of these groups, the one that may do most; empty where there is none."""
    for name, role in _GROUPS.items():
        try:
            if grp.getgrnam(name).gr_gid in groups:
                return role
        except KeyError:
            continue
    return ""


def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
