"""The matching core: a deterministic machine, whose outputs depend only on its inputs.

The inputs are the bytes of clients, connections and disconnections, expiries, the start and end of the day, commands of
administrators, and settings. Each has its time. The outputs are the bytes of replies and market data. The same inputs
give the same bytes in every process. So the core uses no clock, no socket, no logger and no random number.
"""

from __future__ import annotations

from typing import Any, Final

from trading_engine.machine import risk
from trading_engine.machine.account import MAX_TOKENS, Account
from trading_engine.machine.book import Book, Order, orders_of
from trading_engine.machine.encode import (
    BROKEN_HEAD,
    BUY,
    BY_DAYS_END,
    BY_EXPIRY,
    BY_USER,
    CANCEL_BYTES,
    CANCEL_HEAD,
    ENTER_BYTES,
    ENTER_HEAD,
    IMMEDIATE_OR_CANCEL,
    MODIFIED_HEAD,
    MODIFY_BYTES,
    PACK_FEED_REPLACE,
    PACK_MODIFIED,
    PACK_REPLACED,
    PACK_U64,
    REJECT_CLOSED,
    REJECT_CROSS,
    REJECT_MINIMUM,
    REJECT_OTHER,
    REJECT_PRICE,
    REJECT_SYMBOL,
    REPLACE_BYTES,
    REPLACE_HEAD,
    REPLACED_HEAD,
    SELL,
    SELL_SHORT,
    SELL_SHORT_EXEMPT,
    TRADE_NOW_BYTES,
    UNPACK_CANCEL,
    UNPACK_ENTER,
    UNPACK_MODIFY,
    UNPACK_REPLACE,
)
from trading_engine.machine.matching import Matching
from trading_engine.machine.risk import DOLLAR_E4
from trading_engine.machine.terms import UNDECIDED
from trading_engine.machine.text import is_text
from trading_engine.wire import ouch
from trading_engine.wire.soupbintcp import CLIENT_HEARTBEAT, DEBUG, LOGOUT_REQUEST, UNSEQUENCED

_TIF_MARKET: Final = ouch.TIF_MARKET_HOURS
_MAX_PRICE_E4: Final = ouch.MAX_PRICE_E4
_MAX_SHARES: Final = ouch.MAX_SHARES
_MODIFY: Final = 77  # M
_TRADE_NOW: Final = 78  # N
_EXPIRIES_A_SLICE: Final = 64


class Core(Matching):
    """The matching core with all books and accounts. Its counters are only published: no answer depends on them."""

    def __init__(self) -> None:
        super().__init__()
        self.accounts: dict[str, Account] = {}
        self.by_number: list[Account] = []
        self.books: dict[bytes, Book] = {}
        self.by_locate: list[Book] = []
        self.halted_symbols = 0
        self.killed_accounts = 0
        self.day = ""
        self.open = False
        self.closing = False
        self.accepting = True
        self.entry_closed = False
        self.next_reference = 1
        self.close_reason = ""
        self.messages = 0
        self.enters = 0
        self.replaces = 0
        self.cancels = 0
        self.modifies = 0
        self.accepted = 0
        self.replaced = 0
        self.broken_trades = 0

    def configure(self, settings: dict[str, Any], time_ns: int) -> None:
        """Replace the settings of all accounts and symbols by `settings`, which come from EngineConfig.core_settings().

        Accounts and symbols that exist keep their state, such as orders. Symbols that are not in `settings` become
        restricted.
        """
        self._set_time(time_ns)
        listed = {symbol["name"].encode("ascii").ljust(8) for symbol in settings["symbols"]}
        self._take_over(settings)
        for stock, book in self.books.items():
            if stock not in listed:
                book.set_listing(True, book.own_tick_e4, book.lot_shares)

    def change(self, settings: dict[str, Any], time_ns: int) -> None:
        """Change or add the accounts and symbols in `settings`. Restrict the symbols in its list "dropped".

        All other accounts and symbols stay as they are.
        """
        self._set_time(time_ns)
        self._take_over(settings)
        for name in settings["dropped"]:
            book = self.books[name.encode("ascii").ljust(8)]
            book.set_listing(True, book.own_tick_e4, book.lot_shares)

    def _take_over(self, settings: dict[str, Any]) -> None:
        """Change or add the accounts and symbols in `settings`.

        While the day is open, market data announces new symbols, and symbols whose lot size has changed.
        """
        for name, account_settings in settings["accounts"].items():
            known = self.accounts.get(name)
            if known is None:
                account = self.add_account(name, account_settings)
                if self.open:
                    self._system_event(account, b"S")
            else:
                known.configure(account_settings)
        for symbol in settings["symbols"]:
            stock = symbol["name"].encode("ascii").ljust(8)
            book = self.books.get(stock)
            lot_shares = symbol.get("lot_shares", 1)
            is_news = book is None or book.lot_shares != lot_shares
            if book is None:
                book = self.add_book(stock, symbol["reference_price_e4"])
            elif not book.trades:
                book.collar_price_e4 = symbol["reference_price_e4"]
            book.set_listing(symbol["restricted"], symbol.get("tick_e4", 0), lot_shares)
            if self.open and is_news:
                self._announce(book)

    def add_account(self, name: str, settings: dict[str, Any]) -> Account:
        """Add an account, which gets the next number, and return it."""
        account = Account(len(self.by_number), name, settings)
        self.accounts[name] = account
        self.by_number.append(account)
        return account

    def add_book(self, stock: bytes, reference_price_e4: int) -> Book:
        """Add a symbol, which gets the next number in market data (stock locate), and return its book."""
        book = Book(stock, len(self.books) + 1, reference_price_e4)
        self.books[stock] = book
        self.by_locate.append(book)
        return book

    def set_halted(self, book: Book, halted: bool) -> None:
        self.halted_symbols += int(halted) - int(book.halted)
        book.set_halted(halted)

    def set_killed(self, account: Account, killed: bool) -> None:
        self.killed_accounts += int(killed) - int(account.killed)
        account.killed = killed

    def start_day(self, day: str, time_ns: int) -> None:
        """Start the session named `day`, a name of 10 characters. The session before it must have ended.

        Order tokens can be used again, and the numbers of replies and of market data begin at 1 again.
        """
        self._set_time(time_ns)
        self.day = day
        self.open = True
        self.feed_sequence = 0
        for account in self.by_number:
            account.start_day()
            self._system_event(account, b"S")
        for event in (b"O", b"S"):
            self._feed_event(event)
        for book in self.books.values():
            book.trades = 0
            book.traded_shares = 0
            self._announce(book)
        self._feed_event(b"Q")

    def close_day(self, time_ns: int) -> None:
        """Close the day: all further orders are rejected with the letter C. Open orders can still be cancelled."""
        self._set_time(time_ns)
        if self.open:
            self.open = False
            self.closing = True
            self._feed_event(b"M")

    def end_day(self, time_ns: int) -> None:
        """Close the day, cancel all open orders, and announce the end of the session."""
        self.close_day(time_ns)
        if not self.closing:
            return
        for book in self.books.values():
            for side in (book.bids, book.asks):
                for order in orders_of(side):
                    self._kill(order, BY_DAYS_END)
        self.expiries.clear()
        self.closing = False
        for account in self.by_number:
            self._system_event(account, b"E")
        self._feed_event(b"E")
        self._feed_event(b"C")

    def connect(self, number: int) -> None:
        account = self.by_number[number]
        account.connected = True
        account.leaving = False

    def disconnect(self, number: int) -> None:
        account = self.by_number[number]
        account.connected = False
        account.leaving = account.cancel_on_disconnect

    def expire(self, time_ns: int) -> None:
        """Cancel orders whose time in force has ended. One call cancels at most _EXPIRIES_A_SLICE of them."""
        self._set_time(time_ns)
        for order in self.expiries.due(time_ns, _EXPIRIES_A_SLICE):
            self._kill(order, BY_EXPIRY)

    def cancel_orders(self, number: int, reason_and_tokens: bytes, time_ns: int) -> None:
        """Cancel some orders of an account.

        `reason_and_tokens` is a reason letter, followed by the order tokens of 14 bytes each. Tokens without a live
        order are ignored.
        """
        self._set_time(time_ns)
        account = self.by_number[number]
        reason = reason_and_tokens[:1]
        for at in range(1, len(reason_and_tokens), 14):
            order = account.order(reason_and_tokens[at : at + 14])
            if order is not None:
                self._kill(order, reason)

    def administer(self, command: dict[str, Any], time_ns: int) -> None:
        """Execute a command of an administrator.

        It halts or resumes a symbol, switches an account's kill switch on or off, or breaks (busts) a trade.
        """
        self._set_time(time_ns)
        action = command["do"]
        if action in ("halt", "resume"):
            book = self.books[command["symbol"].encode("ascii").ljust(8)]
            self.set_halted(book, action == "halt")
            self._trading_action(book)
        elif action in ("kill", "unkill"):
            self.set_killed(self.accounts[command["account"]], action == "kill")
        elif action == "bust":
            match = command["match"]
            for name, token, _ in command["parties"]:
                packet = BROKEN_HEAD + self._time8 + token.encode("latin-1").ljust(14) + PACK_U64(match) + b"S"
                self._send(self.accounts[name], packet)
            book = self.books[command["parties"][0][2].encode("ascii").ljust(8)]
            self._feed(book.broken_head + self._time6 + PACK_U64(match))
            self.broken_trades += 1

    def apply(self, number: int, data: bytes, time_ns: int) -> int:
        """Process the complete packets at the start of `data`, which the account with this number sent.

        Return the number of bytes processed. If `close_reason` is not "" afterwards, the connection must be closed
        after the replies are sent. The reason is "logout", or it says what is malformed at the first byte that was not
        processed.
        """
        self._set_time(time_ns)
        self.close_reason = ""
        account = self.by_number[number]
        at = 0
        size = len(data)
        before = self.enters + self.replaces + self.cancels + self.modifies
        others = 0
        while size - at >= 3:
            head = data[at : at + 4]  # length and types together, so one comparison finds the most frequent message
            if head == ENTER_HEAD and size - at >= ENTER_BYTES:
                self._enter(account, data, at + 3)
                at += ENTER_BYTES
                continue
            if head == CANCEL_HEAD and size - at >= CANCEL_BYTES:
                self._cancel(account, data, at + 3)
                at += CANCEL_BYTES
                continue
            if head == REPLACE_HEAD and size - at >= REPLACE_BYTES:
                self._replace(account, data, at + 3)
                at += REPLACE_BYTES
                continue
            length = (data[at] << 8) | data[at + 1]
            if length == 0:
                self.close_reason = "packet of length 0"
                break
            end = at + 2 + length
            if end > size:
                if length > 1024:
                    self.close_reason = "packet too long"
                break
            kind = data[at + 2]
            if kind == UNSEQUENCED:
                code = data[at + 3] if length > 1 else 0
                if code == _MODIFY and end - at == MODIFY_BYTES:
                    self._modify(account, data, at + 3)
                elif code == _TRADE_NOW and end - at == TRADE_NOW_BYTES:
                    self.ignored += 1  # Trade Now acts on midpoint orders, which this market does not have
                    others += 1
                else:
                    self.close_reason = "unknown or malformed OUCH message"
                    break
            elif kind == LOGOUT_REQUEST:
                self.close_reason = "logout"
                at = end
                break
            elif kind != CLIENT_HEARTBEAT and kind != DEBUG:
                self.close_reason = "unexpected SoupBinTCP packet"
                break
            at = end
        else:
            if size - at == 2 and data[at] == 0 and data[at + 1] == 0:
                self.close_reason = "packet of length 0"
        self.messages += self.enters + self.replaces + self.cancels + self.modifies - before + others
        return at

    def _enter(self, account: Account, data: bytes, at: int) -> None:
        token, side, shares, stock, price_e4, raw_terms = UNPACK_ENTER(data, at)
        self.enters += 1
        if account.is_used(token):
            self.ignored += 1
            return
        if not token.isalnum() and not is_text(token):
            self._reject(account, token, REJECT_OTHER, risk.REFUSED_TERMS)
            return
        terms = account.terms_of(raw_terms)
        book = self.books.get(stock)
        detail = 0
        if not self.open:
            refusal = REJECT_CLOSED
        elif book is None:
            refusal = REJECT_SYMBOL
        else:
            refusal = risk.check(account, book, side, shares, price_e4) or terms.refusal
            if refusal:
                if refusal == UNDECIDED:
                    refusal = REJECT_MINIMUM if terms.minimum_shares > shares else 0
                elif refusal == REJECT_PRICE and terms.refusal == REJECT_CROSS:
                    refusal = REJECT_CROSS  # the price may be right for the cross that the order names
            if refusal == 0:
                if side != BUY and side != SELL and side != SELL_SHORT and side != SELL_SHORT_EXEMPT:
                    refusal = REJECT_OTHER
                elif not self.accepting:
                    if self.entry_closed:
                        refusal = REJECT_CLOSED
                    else:
                        detail = risk.REFUSED_BUDGET
                elif account.tokens >= MAX_TOKENS and not account.increasing:
                    detail = risk.REFUSED_TOKEN
                elif account.limits_flow:
                    detail = risk.check_flow(account, data[at + 15 : at + 32], 1, shares * price_e4, self._time_ns)
        if refusal or detail or book is None:
            self._reject(account, token, refusal or REJECT_OTHER, detail)
            if detail != risk.REFUSED_TOKEN:
                account.use(token)
            return
        reference = self.next_reference
        self.next_reference = reference + 1
        self.accepted += 1
        reference8 = PACK_U64(reference)
        account.out.append(self._accepted_head + data[at + 1 : at + 32] + terms.head + reference8 + terms.tail)
        account.sequence += 1
        if not account.touched:
            account.touched = True
            self.touched.append(account)

        contras = book.asks if side == BUY else book.bids
        order = Order(token, account, book, reference, side, shares, 0, price_e4, terms)
        if contras.crosses(price_e4):
            account.put(order)
            self.open_orders += 1
            account.exposure_e4 += shares * price_e4
            if self._take(order, contras):
                self._settle(order, False)
            return
        if terms.immediate:
            account.use(token)
            self._canceled(account, token, shares, IMMEDIATE_OR_CANCEL)
            return
        account.put(order)
        self.open_orders += 1
        account.exposure_e4 += shares * price_e4
        (book.bids if side == BUY else book.asks).add(order)
        if terms.usual:
            self.feed_sequence += 1
            shown = data[at + 15 : at + 32]
            if side != BUY and side != SELL:
                shown = b"S" + shown[1:]
            self.feed.append(book.add_head + self._time6 + reference8 + shown)
            return
        if terms.time_in_force_s < _TIF_MARKET:
            self._set_expiry(order)
        if not terms.hidden:
            self.feed_sequence += 1
            self._feed_add(order)

    def _cancel(self, account: Account, data: bytes, at: int) -> None:
        token, shares = UNPACK_CANCEL(data, at)
        self.cancels += 1
        order = account.order(token)
        if order is None:
            self.ignored += 1
        elif shares == 0 or shares <= order.executed_shares:
            self._kill(order, BY_USER)
        elif shares % order.book.lot_shares:
            self.ignored += 1
        else:
            self._reduce(order, shares, BY_USER)

    def _modify(self, account: Account, data: bytes, at: int) -> None:
        token, side, shares = UNPACK_MODIFY(data, at)
        self.modifies += 1
        order = account.order(token)
        if order is None:
            self.ignored += 1
            return
        total = order.executed_shares + order.open_shares
        sells = side in (SELL, SELL_SHORT, SELL_SHORT_EXEMPT)
        if shares > total or (side != order.side and not (sells and order.side != BUY)):
            self.ignored += 1
            return
        if account.killed:
            self.ignored += 1  # no Rejected is sent, because it would mean that the order is not live any more
            return
        if shares <= order.executed_shares:
            self._kill(order, BY_USER)
            return
        if shares % order.book.lot_shares:
            self.ignored += 1
            return
        order.side = side
        self._shrink(order, total - shares)
        self._send(account, MODIFIED_HEAD + self._time8 + PACK_MODIFIED(token, side, shares))

    def _replace(self, account: Account, data: bytes, at: int) -> None:
        token, new_token, shares, price_e4, changed = UNPACK_REPLACE(data, at)
        self.replaces += 1
        old = account.order(token)
        if old is None or token == new_token or account.is_used(new_token):
            self.ignored += 1
            return
        book = old.book
        before = old.terms
        terms = account.terms_after(before, changed)
        if (
            (terms.refusal and (terms.refusal != UNDECIDED or terms.minimum_shares > shares))
            or shares == 0
            or shares > _MAX_SHARES
            or shares % book.lot_shares
            or price_e4 == 0
            or price_e4 > _MAX_PRICE_E4
            or price_e4 % (book.tick_e4 if price_e4 >= DOLLAR_E4 else book.low_tick_e4)
            or not (new_token.isalnum() or is_text(new_token))
            or shares <= old.executed_shares
        ):
            self._kill(old, BY_USER)
            return
        open_shares = shares - old.executed_shares
        refusal = risk.check(account, book, old.side, shares, price_e4)
        detail = 0
        if not self.open:
            refusal = REJECT_CLOSED
        elif refusal == 0:
            if not self.accepting:
                if self.entry_closed:
                    refusal = REJECT_CLOSED
                else:
                    detail = risk.REFUSED_BUDGET
            elif account.tokens >= MAX_TOKENS and not account.increasing:
                detail = risk.REFUSED_TOKEN
            elif account.limits_flow:
                added_e4 = open_shares * price_e4 - old.open_shares * old.price_e4
                detail = risk.check_flow(account, b"", 0, added_e4, self._time_ns)
        if refusal or detail:
            self._reject(account, new_token, refusal or REJECT_OTHER, detail)
            if detail != risk.REFUSED_TOKEN:
                account.use(new_token)
            return

        own = book.side_of(old.side)
        own.remove(old)
        self._forget(old)
        reference = self.next_reference
        self.next_reference = reference + 1
        self.replaced += 1
        order = Order(new_token, account, book, reference, old.side, open_shares, old.executed_shares, price_e4, terms)
        account.put(order)
        self.open_orders += 1
        account.exposure_e4 += open_shares * price_e4
        self._send(
            account,
            REPLACED_HEAD
            + self._time8
            + PACK_REPLACED(
                new_token, old.side, open_shares, book.stock, price_e4, terms.head,
                reference, terms.raw[9:16], b"L", token, b" ",
            ),
        )  # fmt: skip
        contras = book.asks if old.side == BUY else book.bids
        if terms.immediate or contras.crosses(price_e4):
            if not before.hidden:
                self._feed(book.delete_head + self._time6 + PACK_U64(old.reference))
            if self._take(order, contras):
                self._settle(order, False)
            return
        shown_as_before = terms.attributed == before.attributed
        if not before.hidden and not terms.hidden and shown_as_before:
            replaced = PACK_FEED_REPLACE(old.reference, reference, open_shares, price_e4)
            self._feed(book.replace_head + self._time6 + replaced)
            self._settle(order, True)
            return
        if not before.hidden:
            self._feed(book.delete_head + self._time6 + PACK_U64(old.reference))
        self._settle(order, False)

    def recount_exposure(self) -> None:
        """Compute the exposure of each account from its open orders, after a snapshot was loaded.

        The exposure is the value of the open orders.
        """
        for account in self.by_number:
            account.exposure_e4 = 0
        for book in self.books.values():
            for side in (book.bids, book.asks):
                for order in orders_of(side):
                    order.account.exposure_e4 += order.open_shares * order.price_e4
