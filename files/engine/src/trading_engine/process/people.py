"""The person who has connected to an administration socket, and the commands that this person may give.

The kernel reports the user and the groups of the process that connected. The person's role follows from these groups,
and not from anything that the process sends. The ids of the groups are looked up once, at the start. The name of a user
is looked up when the user first connects, and is then kept. This delays clients once.
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
"""The socket for people, unless PEOPLE_VARIABLE is set. The permissions of its directory decide who may connect."""
PEOPLE_VARIABLE = "TRADING_ADMIN_PEOPLE"
"""The environment variable with the path of the socket for people. Without it, the engine opens no such socket."""


def socket_of(partition: str) -> Path:
    """Return the path of the administration socket for people, for the engine of this partition.

    On a host with one engine `partition` is "". Raises ValueError for a text that cannot be the name of a partition.
    """
    path = Path(os.environ.get(PEOPLE_VARIABLE, SOCKET))
    return path.with_name(f"{path.stem}-{partition}{path.suffix}") if partition else path


EVERYTHING = "root"
_SHOWN = frozenset({"status"})
_COMMANDS = {"observer": _SHOWN, "operator": _SHOWN | {"halt", "resume", "kill", "unkill"}}
"""The commands of each role. Root and the engine's own user may give every command."""
# The group whose role has the most rights comes first. Members of trading-deployer are root with sudo, and have the
# role operator without sudo.
_GROUPS = {"trading-deployer": "operator", "trading-operator": "operator", "trading-observer": "observer"}

_CREDENTIALS = struct.Struct("3i")  # ucred: process, user, group
_PEER_GROUPS = 59  # SO_PEERGROUPS, which is not in Python's module socket
_MOST_BYTES = 1024  # the largest size that Python's getsockopt() allows


@dataclass(frozen=True, slots=True)
class Person:
    """A user's name and role. The role is a key of _COMMANDS, or EVERYTHING, or "" for a user without a role."""

    name: str
    role: str

    def may(self, command: object) -> bool:
        return self.role == EVERYTHING or (isinstance(command, str) and command in _COMMANDS.get(self.role, ()))


def roles_by_group() -> dict[int, str]:
    """Return a dictionary: group id → role. The role with the most rights is first.

    Groups that do not exist on this host are left out.
    """
    roles: dict[int, str] = {}
    for name, role in _GROUPS.items():
        try:
            roles.setdefault(grp.getgrnam(name).gr_gid, role)
        except KeyError:
            continue
    return roles


def person_at(connection: socket.socket, roles: Mapping[int, str]) -> Person:
    """Return the person whose process has connected. The role is the first in `roles` whose group the process has.

    Root and the engine's user have the role EVERYTHING. Raises OSError when the kernel does not report the user.
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
