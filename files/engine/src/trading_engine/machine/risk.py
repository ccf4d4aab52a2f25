"""The checks of an order before it is accepted: against the limits of its account, and the state of its symbol.

OUCH has a letter for each of the usual reasons to reject an order, and the letter `O` for all other reasons. REFUSALS
lists these other reasons, so that they are counted separately.
"""

from __future__ import annotations

from typing import Final

from trading_engine.machine.account import Account
from trading_engine.machine.book import Book
from trading_engine.machine.encode import (
    BUY,
    REJECT_HALTED,
    REJECT_KILLED,
    REJECT_PRICE,
    REJECT_RESTRICTED,
    REJECT_SHARES,
    REJECT_TOO_MANY_SHARES,
    REJECT_TOO_MUCH_NOTIONAL,
)
from trading_engine.wire import ouch

REFUSED_TERMS: Final = 0
REFUSED_EXPOSURE: Final = 1
REFUSED_OPEN_ORDERS: Final = 2
REFUSED_RATE: Final = 3
REFUSED_DUPLICATE: Final = 4
REFUSED_TOKEN: Final = 5
REFUSED_BUDGET: Final = 6
REFUSALS: Final = ("terms", "exposure", "open_orders", "rate", "duplicate", "token", "journal_budget")

DOLLAR_E4: Final = 10_000
_MAX_PRICE_E4: Final = ouch.MAX_PRICE_E4
_MAX_SHARES: Final = ouch.MAX_SHARES


def check(account: Account, book: Book, side: int, shares: int, price_e4: int) -> int:
    """Check an order with these fields against the account's limits and the symbol's state.

    Return the letter of the reason to reject it, as a number, or 0 to accept it.
    """
    if account.killed:
        return REJECT_KILLED
    if book.special:
        if book.restricted:
            return REJECT_RESTRICTED
        if book.halted:
            return REJECT_HALTED
        if shares % book.lot_shares:
            return REJECT_PRICE
    if shares == 0 or shares > _MAX_SHARES:
        return REJECT_SHARES
    if shares > account.max_order_shares and account.max_order_shares:
        return REJECT_TOO_MANY_SHARES
    if price_e4 == 0 or price_e4 > _MAX_PRICE_E4:
        return REJECT_PRICE
    if price_e4 % (book.tick_e4 if price_e4 >= DOLLAR_E4 else book.low_tick_e4):
        return REJECT_PRICE
    if shares * price_e4 > account.max_order_notional_e4 and account.max_order_notional_e4:
        return REJECT_TOO_MUCH_NOTIONAL
    percent = account.collar_percent
    if percent:
        reference_e4 = book.collar_price_e4
        if side == BUY:
            if price_e4 * 100 > reference_e4 * (100 + percent):
                return REJECT_PRICE
        elif price_e4 * 100 < reference_e4 * (100 - percent):
            return REJECT_PRICE
    return 0


def check_flow(account: Account, key: bytes, added_orders: int, added_e4: int, time_ns: int) -> int:
    """Return the limit that the account would exceed with this order, as an index in REFUSALS, or 0 for none.

    The limits are those on the rate, the number of open orders, the exposure and duplicates. `key` is the same for
    orders that are duplicates. `added_orders` is what the order adds to the number of open orders. `added_e4` is what
    it adds to the exposure, in 1/10,000 of the currency unit.
    """
    if account.max_orders_per_second:
        second = time_ns // 1_000_000_000
        if second != account.rate_second:
            account.rate_second = second
            account.rate_count = 0
        if account.rate_count >= account.max_orders_per_second:
            return REFUSED_RATE
        account.rate_count += 1
    if account.max_open_orders and account.open_orders + added_orders > account.max_open_orders:
        return REFUSED_OPEN_ORDERS
    if account.max_exposure_e4 and account.exposure_e4 + added_e4 > account.max_exposure_e4:
        return REFUSED_EXPOSURE
    if account.duplicate_orders and added_orders and _is_duplicate(account, key, time_ns):
        return REFUSED_DUPLICATE
    return 0


def _is_duplicate(account: Account, key: bytes, time_ns: int) -> bool:
    recent, counts = account.recent, account.recent_counts
    oldest_ns = time_ns - account.duplicate_window_ns
    while recent and recent[0][0] < oldest_ns:
        _, old = recent.popleft()
        left = counts[old] - 1
        if left:
            counts[old] = left
        else:
            del counts[old]
    seen = counts.get(key, 0)
    if seen >= account.duplicate_orders:
        return True
    counts[key] = seen + 1
    recent.append((time_ns, key))
    return False
