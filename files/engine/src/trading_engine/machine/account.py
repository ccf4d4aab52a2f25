"""An account in the matching core: its order tokens, its limits, and its replies that are not sent yet.

An order token is the id that the client gives to an order. The tokens are kept in one dict, which is divided into 256
when it holds more than 2,048 tokens. Python enlarges a dict of a million entries in tens of milliseconds, during which
no client is served. It enlarges a dict of four thousand entries in tenths of a millisecond.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from trading_engine.machine.book import Order, Owner
from trading_engine.machine.terms import Terms

MAX_TOKENS: Final = 1_000_000
_SPLIT_AT: Final = 2048
_SHARDS: Final = 256
_MAX_TERMS: Final = 256
_NO_FIRM: Final = b"    "


class Account(Owner):
    """The state of one account in the matching core. `sequence` is the number of its last reply.

    `out` holds the replies that are not sent yet, as SoupBinTCP packets in order.
    """

    def __init__(self, number: int, name: str, settings: dict[str, Any]) -> None:
        super().__init__(number, name)
        self.connected = False
        self.leaving = False  # the connection has ended, and the account's orders are being cancelled
        self.killed = False
        self.last_token = b""
        self.tokens = 0
        self.open_orders = 0
        self.rate_second = 0
        self.rate_count = 0
        self.recent: deque[tuple[int, bytes]] = deque()
        self.recent_counts: dict[bytes, int] = {}
        self._terms: dict[bytes, Terms] = {}
        self._shards: list[dict[bytes, Order | None]] = [{}]
        self._mask = 0
        self.settings = settings
        self._mpids: list[bytes] = []
        self.increasing = False
        self.test = False
        self.cancel_on_disconnect = False
        self.max_order_shares = 0
        self.max_order_notional_e4 = 0
        self.collar_percent = 0
        self.max_open_orders = 0
        self.max_orders_per_second = 0
        self.duplicate_orders = 0
        self.duplicate_window_ns = 0
        self.limits_flow = False
        self.configure(settings)

    def configure(self, settings: dict[str, Any]) -> None:
        limits = settings["limits"]
        self.settings = settings
        increasing = settings["tokens"] == "increasing"
        if increasing and not self.increasing:
            self._begin_increasing()
        self.increasing = increasing
        self.test = bool(settings["test"])
        self.self_match = ("allow", "cancel_resting", "cancel_incoming").index(settings["self_match"])
        self.firm = settings.get("firm", "")  # settings of older releases have no firms or MPIDs: any firm is allowed
        self.firm_wide = settings.get("self_match_within") == "firm"
        mpids = [mpid.encode("ascii").ljust(4) for mpid in settings.get("mpids", ())]
        if mpids != self._mpids:
            self._mpids = mpids
            self._forget_terms()
        self.cancel_on_disconnect = bool(settings["cancel_on_disconnect"])
        self.max_order_shares = limits["max_order_shares"]
        self.max_order_notional_e4 = limits["max_order_notional"] * 10_000
        self.collar_percent = limits["collar_percent"]
        self.max_open_orders = limits["max_open_orders"]
        self.max_exposure_e4 = limits["max_exposure"] * 10_000
        self.max_orders_per_second = limits["max_orders_per_second"]
        self.duplicate_orders = limits["duplicate_orders"]
        self.duplicate_window_ns = limits["duplicate_window_ms"] * 1_000_000
        self.limits_flow = bool(
            self.max_open_orders or self.max_exposure_e4 or self.max_orders_per_second or self.duplicate_orders
        )

    def _begin_increasing(self) -> None:
        """Begin to require increasing order tokens, during a day.

        The account then keeps only its highest token and the tokens of its live orders.
        """
        for shard in self._shards:
            for token in list(shard):
                self.last_token = max(self.last_token, token)
                if shard[token] is None:
                    del shard[token]
        self.tokens = self.open_orders

    def start_day(self) -> None:
        """Reset the account for a new day: its tokens, the numbers of replies, and the counts for limits.

        The account must have no live order.
        """
        self.sequence = 0
        self.taken = 0
        self.last_token = b""
        self.tokens = 0
        self.rate_second = 0
        self.rate_count = 0
        self.recent.clear()
        self.recent_counts.clear()
        self._shards = [{}]
        self._mask = 0

    def terms_of(self, raw: bytes) -> Terms:
        """Return the terms of an order, such as its time in force. The bytes are 32 to 48 of an Enter Order."""
        terms = self._terms.get(raw)
        if terms is None:
            terms = self._judge(raw)
        return terms

    def _judge(self, raw: bytes) -> Terms:
        """Check new terms, given as these bytes of an Enter Order. Add them to the account's table and return them.

        If the firm is blank, the account's first MPID is used.
        """
        if len(self._terms) >= _MAX_TERMS:
            self._forget_terms()
        firm, mpids = raw[4:8], self._mpids
        if firm == _NO_FIRM and mpids:
            terms = self.terms_of(raw[0:4] + mpids[0] + raw[8:])
        else:
            terms = Terms(raw, not mpids or firm in mpids)
        self._terms[raw] = terms
        return terms

    def _forget_terms(self) -> None:
        for known in self._terms.values():
            known.replacements.clear()  # terms may refer to each other in a cycle, which is freed only if cut here
        self._terms.clear()

    def terms_after(self, before: Terms, changed: bytes) -> Terms:
        """Return the terms of an order that replaces an order with the terms `before`.

        `changed` are 10 bytes of the Replace Order: time in force, display, sweep and minimum quantity.
        """
        terms = before.replacements.get(changed)
        if terms is None:
            raw = before.raw
            terms = self.terms_of(
                changed[0:4] + raw[4:8] + changed[4:5] + raw[9:10] + changed[5:6] + changed[6:10] + raw[15:17]
            )
            # Terms that are no longer in the table are referred to only by orders, and must be freed with them.
            if self._terms.get(raw) is before:
                if len(before.replacements) >= _MAX_TERMS:
                    before.replacements.clear()
                before.replacements[changed] = terms
        return terms

    def order(self, token: bytes) -> Order | None:
        """Return the live order with this token, or None."""
        return self._shards[hash(token) & self._mask].get(token)

    def is_used(self, token: bytes) -> bool:
        """Return whether the account has used the order token today.

        If its tokens must increase, all tokens up to the last one count as used.
        """
        if self.increasing:
            return token <= self.last_token
        return token in self._shards[hash(token) & self._mask]

    def use(self, token: bytes) -> None:
        """Record that the token is used by an order that is not live, such as a rejected order."""
        if self.increasing:
            self.last_token = token
        else:
            self._shards[hash(token) & self._mask][token] = None
            self.tokens += 1
            if self.tokens > _SPLIT_AT and self._mask == 0:
                self._split()

    def put(self, order: Order) -> None:
        """Record an order that is live from now on, under its token."""
        if self.increasing:
            self.last_token = order.token
        token = order.token
        self._shards[hash(token) & self._mask][token] = order
        self.open_orders += 1
        self.tokens += 1
        if self.tokens > _SPLIT_AT and self._mask == 0:
            self._split()

    def drop(self, order: Order) -> None:
        """Record that an order is no longer live."""
        shard = self._shards[hash(order.token) & self._mask]
        if self.increasing:
            del shard[order.token]
            self.tokens -= 1
        else:
            shard[order.token] = None
        self.open_orders -= 1

    def shard_count(self) -> int:
        return len(self._shards)

    def live_tokens(self, shard: int, limit: int) -> list[bytes]:
        """Return up to `limit` tokens of live orders, from the part of the table with the index `shard`."""
        found: list[bytes] = []
        for token, order in self._shards[shard].items():
            if order is not None:
                found.append(token)
                if len(found) == limit:
                    break
        return found

    def used_tokens(self) -> list[bytes]:
        """Return the used tokens that have no live order, sorted. A snapshot stores them next to the live orders."""
        return sorted(token for shard in self._shards for token, order in shard.items() if order is None)

    def _split(self) -> None:
        whole = self._shards[0]
        mask = _SHARDS - 1
        shards: list[dict[bytes, Order | None]] = [{} for _ in range(_SHARDS)]
        for token, order in whole.items():
            shards[hash(token) & mask][token] = order
        self._shards = shards
        self._mask = mask
