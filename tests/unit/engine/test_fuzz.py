"""A client that sends arbitrary bytes gets an answer, no answer, or a disconnect with a reason.

Such bytes never cause an exception. A rejected message never changes a book.
"""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st
from trading_engine.clients.session import Session
from trading_engine.wire import ouch, soupbintcp
from trading_engine.wire.layout import WireError

from tests.unit.engine.market import Market

LETTERS = st.sampled_from(b"OXUMN?\0S")
FRAMES = st.one_of(
    st.binary(max_size=80),
    st.tuples(LETTERS, st.binary(max_size=60)).map(lambda pair: soupbintcp.unsequenced(bytes([pair[0]]) + pair[1])),
    st.binary(min_size=48, max_size=48).map(lambda body: soupbintcp.unsequenced(b"O" + body)),
    st.binary(min_size=46, max_size=46).map(lambda body: soupbintcp.unsequenced(b"U" + body)),
    st.binary(min_size=18, max_size=18).map(lambda body: soupbintcp.unsequenced(b"X" + body)),
    st.binary(min_size=19, max_size=19).map(lambda body: soupbintcp.unsequenced(b"M" + body)),
    st.integers(1, 99).map(
        lambda shares: soupbintcp.unsequenced(
            ouch.INBOUND.encode(ouch.EnterOrder(f"T{shares}", "B", shares, "TEST", 1_000_000))
        )
    ),
)


@settings(max_examples=300)
@given(st.lists(FRAMES, max_size=12), st.lists(st.integers(1, 40), max_size=30))
def test_any_bytes_in_any_pieces_are_processed_the_same_and_end_with_a_reason(
    frames: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(frames)
    whole, pieces = Market(), Market()
    consumed = whole.core.apply(0, stream, 5_000)
    whole.drain()
    reason = whole.core.close_reason
    rest, at, total = b"", 0, 0
    for size in [*cuts, len(stream)]:
        data = rest + stream[at : at + size]
        at += size
        used = pieces.core.apply(0, data, 5_000)
        total += used
        rest = data[used:]
        if pieces.core.close_reason:
            break
    pieces.drain()
    assert (total, pieces.core.close_reason or reason) == (consumed, reason)
    assert (pieces.replies, pieces.feed) == (whole.replies, whole.feed)
    assert consumed == len(stream) or reason or len(stream) - consumed < 1026


@settings(max_examples=200)
@given(st.binary(min_size=33, max_size=33), st.sampled_from("BS?"), st.integers(0, 2**32 - 1))
def test_refused_input_leaves_the_book_as_it_was(tail: bytes, side: str, shares: int) -> None:
    market = Market(max_order_shares=1)
    market.enter("B", "B", 10, 1_000_000)
    before = (market.depth("B"), market.depth("S"))
    market.take()
    order = b"O" + b"token".ljust(14) + side.encode() + shares.to_bytes(4, "big") + b"TEST    "
    market.read("A", soupbintcp.unsequenced(order + tail[:21]))
    answers = [type(reply) for reply in market.replies.get("A", [])]
    if answers == [ouch.Rejected]:
        assert (market.depth("B"), market.depth("S")) == before
        assert market.feed == []
    else:
        assert answers[0] == ouch.Accepted


@settings(max_examples=300)
@given(st.lists(st.one_of(st.binary(max_size=60), st.just(soupbintcp.login_request("A", "b"))), max_size=4))
def test_any_bytes_before_the_login_are_a_request_or_refused(pieces: list[bytes]) -> None:
    session = Session(0)
    with contextlib.suppress(WireError):
        for piece in pieces:
            request = session.login_request(piece)
            if request is not None:
                assert request.sequence >= 0
                return
            assert len(session.rest) <= 1026 + 60
