"""The constants in the encoder of the package `machine` are equal to the values in the protocols' layouts."""

from __future__ import annotations

import pytest
from trading_engine.machine import encode
from trading_engine.wire import itch, ouch


def test_every_reject_letter_is_one_of_ouch() -> None:
    letters = {chr(value) for name, value in vars(encode).items() if name.startswith("REJECT_")}
    assert len(letters) == 14
    assert letters <= ouch.REJECT_REASONS.keys()


def test_sides_are_their_letters() -> None:
    assert bytes((encode.BUY, encode.SELL, encode.SELL_SHORT, encode.SELL_SHORT_EXEMPT)) == b"BSTE"


@pytest.mark.parametrize(
    ("size_bytes", "message"),
    [
        (encode.ENTER_BYTES, ouch.EnterOrder),
        (encode.REPLACE_BYTES, ouch.ReplaceOrder),
        (encode.CANCEL_BYTES, ouch.CancelOrder),
        (encode.MODIFY_BYTES, ouch.ModifyOrder),
        (encode.TRADE_NOW_BYTES, ouch.TradeNow),
    ],
)
def test_a_packet_is_its_message_with_length_and_type(size_bytes: int, message: type) -> None:
    (layout,) = (layout for layout in ouch.INBOUND.by_code.values() if layout.message is message)
    assert size_bytes == layout.size_bytes + 3


def test_heads_name_length_type_and_letter() -> None:
    assert bytes((0, ouch.OUTBOUND.by_code[ord("E")].size_bytes + 1)) + b"SE" == encode.EXECUTED_HEAD
    assert bytes((0, ouch.INBOUND.by_code[ord("O")].size_bytes + 1)) + b"UO" == encode.ENTER_HEAD
    assert bytes((0, itch.FEED.by_code[ord("A")].size_bytes)) + b"A" == encode.FEED_ADD_HEAD
