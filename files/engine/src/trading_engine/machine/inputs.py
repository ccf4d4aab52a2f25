"""The machine's inputs: their kinds, as the journal numbers them, and the effect of each on the core."""

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
TAKES_ORDERS: Final = b"\x01"
NO_SPACE: Final = b"\x00"
ENTRY_CLOSED: Final = b"\x02"
"""The payloads of ACCEPTING: cancels are taken in any case."""
ADMIN: Final = 9
CANCEL_ORDERS: Final = 10
CLOSE_DAY: Final = 11
CHANGE: Final = 12


class InputError(Exception):
    """The core cannot process this input; the message says why."""


class Record(NamedTuple):
    """A journal record. `number` counts from 1 through all segments; `account` is the account's number, 0 for none."""

    kind: int
    number: int
    time_ns: int
    account: int
    payload: bytes


def apply_record(core: Core, record: Record) -> None:
    """Apply one recorded input to the core; raises InputError for an input that this version does not know."""
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
