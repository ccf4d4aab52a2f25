"""The inputs of the matching core. Each kind of input has a number in the journal and a method of the core."""

from __future__ import annotations

import json
from typing import Final, NamedTuple

from trading_engine.machine.core import Core

READ: Final = 1
CONNECT: Final = 2
DISCONNECT: Final = 3
CONFIGURE: Final = 4
START_DAY: Final = 5
END_DAY: Final = 6
EXPIRE: Final = 7
ACCEPTING: Final = 8
# The payload of ACCEPTING says whether new orders are accepted. Cancels are accepted with each of these payloads.
TAKES_ORDERS: Final = b"\x01"
NO_SPACE: Final = b"\x00"
ENTRY_CLOSED: Final = b"\x02"
"""The payloads of ACCEPTING: cancels are taken in any case."""
ADMIN: Final = 9
CANCEL_ORDERS: Final = 10
CLOSE_DAY: Final = 11
CHANGE: Final = 12


class InputError(Exception):
    """The core cannot process an input of the journal. The message says why."""


class Record(NamedTuple):
    """A record of the journal, which is one input. `number` counts the records of all segments, from 1.

    `account` is the number of the account, or 0 if the input concerns no account.
    """

    kind: int
    number: int
    time_ns: int
    account: int
    payload: bytes


def apply_record(core: Core, record: Record) -> None:
    """Let the core process an input of the journal.

    Raises InputError if this version of the core does not know the kind of the input. Also raises it if the input is a
    read of a client's bytes and the core does not process all of them.
    """
    kind, _, time_ns, account, payload = record
    if kind == READ:
        if core.apply(account, payload, time_ns) != len(payload):
            raise InputError(f"a read that was processed whole is not now ({core.close_reason})")
    elif kind == CONNECT:
        core.connect(account)
    elif kind == DISCONNECT:
        core.disconnect(account)
    elif kind == CONFIGURE:
        core.configure(json.loads(payload), time_ns)
    elif kind == CHANGE:
        core.change(json.loads(payload), time_ns)
    elif kind == START_DAY:
        core.start_day(payload.decode("ascii"), time_ns)
    elif kind == END_DAY:
        core.end_day(time_ns)
    elif kind == CLOSE_DAY:
        core.close_day(time_ns)
    elif kind == EXPIRE:
        core.expire(time_ns)
    elif kind == ACCEPTING:
        core.accepting = payload == TAKES_ORDERS
        core.entry_closed = payload == ENTRY_CLOSED
    elif kind == ADMIN:
        core.administer(json.loads(payload), time_ns)
    elif kind == CANCEL_ORDERS:
        core.cancel_orders(account, payload, time_ns)
    else:
        raise InputError(f"unknown kind {kind}")
