"""Random orders as bytes. The same seed gives the same bytes, so that tests can compare two runs byte by byte."""

from __future__ import annotations

import random
from typing import Any

from trading_engine.wire import ouch, soupbintcp


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  # repeatable, and no secret


def reads(seed: int, count: int, accounts: int = 3) -> list[tuple[int, bytes]]:
    """Return a list of reads. A read is an account's number, and bytes that its client has sent.

    The engine gets these bytes at once. They contain one to eight messages. All reads together contain messages of
    every kind and with every outcome.
    """
    choose = seeded(seed)
    tokens: list[list[str]] = [[] for _ in range(accounts)]
    made = []
    serial = 0
    for _ in range(count):
        account = choose.randrange(accounts)
        data = b""
        for _ in range(choose.randrange(1, 9)):
            serial += 1
            message = _message(choose, f"N{serial:07d}", tokens[account])
            data += soupbintcp.unsequenced(ouch.INBOUND.encode(message))
        made.append((account, data))
    return made


def _message(choose: random.Random, token: str, tokens: list[str]) -> tuple[Any, ...]:
    price_e4 = 1_000_000 + choose.randrange(-20, 21) * 100
    shares = choose.randrange(1, 500)
    kind = choose.random()
    old = choose.choice(tokens[-200:]) if tokens else token
    if kind < 0.5 or not tokens:
        tokens.append(token)
        return ouch.EnterOrder(
            token,
            choose.choice("BBBSSTE"),
            shares,
            choose.choice(("TEST", "OTHER", "NONE") if choose.random() < 0.05 else ("TEST", "OTHER")),
            price_e4,
            choose.choice((0, 2, 99_998, 99_999)),
            display=choose.choice("YYYYAPN"),
        )
    if kind < 0.75:
        return ouch.CancelOrder(old, choose.choice((0, 0, shares)))
    if kind < 0.95:
        tokens.append(token)
        return ouch.ReplaceOrder(old, token, shares, price_e4, display=choose.choice("YN"))
    return ouch.ModifyOrder(old, choose.choice("BS"), shares)
