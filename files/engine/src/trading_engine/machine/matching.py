"""The execution of orders against the book, and every other way in which an order ends or is reduced."""

from __future__ import annotations

from typing import Final

from trading_engine.machine.book import BookSide, Order, Owner
from trading_engine.machine.encode import (
    BUY,
    EXECUTED_HEAD,
    IMMEDIATE_OR_CANCEL,
    PACK_EXECUTED,
    PACK_FEED_EXECUTED,
    PACK_FEED_TRADE,
    PACK_U32,
    PACK_U64,
    POST_ONLY,
    SELF_MATCH,
)
from trading_engine.machine.expiry import ExpiryTable
from trading_engine.machine.outputs import Outputs
from trading_engine.wire import ouch

_TIF_MARKET: Final = ouch.TIF_MARKET_HOURS
_SECOND_NS: Final = 1_000_000_000
# The liquidity flags of an Executed (OUCH 4.2): whether the order added liquidity to the book or removed it.
_ADDED: Final = b"A"
_ADDED_HIDDEN: Final = b"J"
_REMOVED: Final = b"R"


class Matching(Outputs):
    """The matching of orders. It also updates the tables of live orders and of expiries, and the exposures."""

    def __init__(self) -> None:
        super().__init__()
        self.next_match = 1
        self.expiries = ExpiryTable()
        self.open_orders = 0
        self.ignored = 0
        self.executions = 0
        self.executed_shares = 0

    def _take(self, taker: Order, contras: BookSide) -> bool:
        """Execute the order `taker` against the orders of the other side, as far as its price and terms allow.

        The taker must not rest in the book. Return False if it was cancelled. That happens if it would trade with an
        order of its own firm or account (self-match prevention), or if it is post-only and would be executed at once.
        """
        account = taker.account
        terms = taker.terms
        price_e4 = taker.price_e4
        if terms.post_only:
            if contras.crosses(price_e4):
                self._end(taker, POST_ONLY)
                return False
            return True
        if terms.minimum_shares and not self._meets_minimum(taker, contras):
            return True
        buying = taker.side == BUY
        self_match = account.self_match
        index = len(contras.keys) - 1
        while index >= 0 and taker.open_shares:
            level = contras.levels[contras.keys[index]]
            if (level.price_e4 > price_e4) if buying else (level.price_e4 < price_e4):
                break
            maker = level.oldest
            while maker is not None and taker.open_shares:
                following = maker.newer
                if self_match and _is_own(account, maker.account):
                    if self_match == 1:
                        self._kill(maker, SELF_MATCH)
                    else:
                        self._end(taker, SELF_MATCH)
                        return False
                elif not level.hidden or min(maker.terms.minimum_shares, maker.open_shares) <= taker.open_shares:
                    self._trade(taker, maker, contras)
                maker = following
            index -= 1
        return True

    def _meets_minimum(self, taker: Order, contras: BookSide) -> bool:
        """Return whether `_take` would execute at least the taker's minimum quantity.

        If fewer shares are open, it must execute all of them.
        """
        account = taker.account
        buying = taker.side == BUY
        left = taker.open_shares
        enough = left - min(taker.terms.minimum_shares, left)  # if at most so many shares are left, the minimum is met
        index = len(contras.keys) - 1
        while index >= 0 and left > enough:
            level = contras.levels[contras.keys[index]]
            if (level.price_e4 > taker.price_e4) if buying else (level.price_e4 < taker.price_e4):
                break
            maker = level.oldest
            while maker is not None and left > enough:
                if account.self_match and _is_own(account, maker.account):
                    if account.self_match == 2:
                        return False
                elif not level.hidden or min(maker.terms.minimum_shares, maker.open_shares) <= left:
                    left -= min(maker.open_shares, left)
                maker = maker.newer
            index -= 1
        return left <= enough

    def _trade(self, taker: Order, maker: Order, contras: BookSide) -> None:
        level = maker.level
        assert level is not None
        book = maker.book
        price_e4 = level.price_e4
        shares = taker.open_shares
        if maker.open_shares < shares:
            shares = maker.open_shares
        match = self.next_match
        self.next_match = match + 1
        self.executions += 1
        self.executed_shares += shares
        book.collar_price_e4 = price_e4
        book.last_price_e4 = price_e4
        book.last_shares = shares
        book.last_ns = self._time_ns
        book.trades += 1
        book.traded_shares += shares
        head = EXECUTED_HEAD + self._time8
        if level.hidden:
            added = _ADDED_HIDDEN
            # The side is always B, so that the side of the hidden order is not published.
            trade = PACK_FEED_TRADE(0, BUY, shares, book.stock, price_e4, match)
            self._feed(book.trade_head + self._time6 + trade)
        else:
            added = _ADDED
            self._feed(book.executed_head + self._time6 + PACK_FEED_EXECUTED(maker.reference, shares, match))
        self._send(taker.account, head + PACK_EXECUTED(taker.token, shares, price_e4, _REMOVED, match))
        self._send(maker.account, head + PACK_EXECUTED(maker.token, shares, price_e4, added, match))
        account = taker.account
        account.exposure_e4 -= shares * taker.price_e4
        taker.open_shares -= shares
        taker.executed_shares += shares
        if maker.open_shares == shares:
            contras.remove(maker)
            self._forget(maker)
        else:
            account = maker.account
            account.exposure_e4 -= shares * price_e4
            maker.open_shares -= shares
            maker.executed_shares += shares
            level.shares -= shares

    def _settle(self, order: Order, announced: bool) -> None:
        """Finish an order after `_take`: its open shares rest in the book, or are cancelled if it is immediate.

        If `announced`, market data already shows the order.
        """
        if order.open_shares == 0:
            order.account.drop(order)
            self.open_orders -= 1
        elif order.terms.immediate:
            self._end(order, IMMEDIATE_OR_CANCEL)
        else:
            order.book.side_of(order.side).add(order)
            if order.terms.time_in_force_s < _TIF_MARKET:
                self._set_expiry(order)
            if not announced and not order.terms.hidden:
                self.feed_sequence += 1
                self._feed_add(order)

    def _kill(self, order: Order, reason: bytes) -> None:
        """Cancel a resting order, for this reason."""
        shares = order.open_shares
        book = order.book
        (book.bids if order.side == BUY else book.asks).remove(order)
        if not order.terms.hidden:
            self.feed.append(book.delete_head + self._time6 + PACK_U64(order.reference))
            self.feed_sequence += 1
        self._forget(order)
        self._canceled(order.account, order.token, shares, reason)

    def _end(self, order: Order, reason: bytes) -> None:
        """Cancel a live order that is not in the book, because it is being executed at this moment."""
        shares = order.open_shares
        self._forget(order)
        self._canceled(order.account, order.token, shares, reason)

    def _forget(self, order: Order) -> None:
        account = order.account
        account.drop(order)
        self.open_orders -= 1
        if order.expiry_ns:
            self.expiries.remove(order)
        account.exposure_e4 -= order.open_shares * order.price_e4

    def _reduce(self, order: Order, total: int, reason: bytes) -> None:
        decrement = order.executed_shares + order.open_shares - total
        if decrement <= 0:
            self.ignored += 1
            return
        self._shrink(order, decrement)
        self._canceled(order.account, order.token, decrement, reason)

    def _shrink(self, order: Order, decrement: int) -> None:
        """Reduce the open shares of a resting order. The order keeps its place in the queue of its level."""
        if decrement == 0:
            return
        level = order.level
        assert level is not None
        order.open_shares -= decrement
        level.shares -= decrement
        order.account.exposure_e4 -= decrement * order.price_e4
        if not level.hidden:
            self._feed(order.book.cancel_head + self._time6 + PACK_U64(order.reference) + PACK_U32(decrement))

    def _set_expiry(self, order: Order) -> None:
        order.expiry_ns = self._time_ns + order.terms.time_in_force_s * _SECOND_NS
        self.expiries.add(order)


def _is_own(account: Owner, other: Owner) -> bool:
    """Return whether self-match prevention treats the two accounts as one.

    That is so if they are the same account, or of the same firm and the first has the setting for the whole firm.
    """
    return other is account or (account.firm_wide and other.firm == account.firm)
