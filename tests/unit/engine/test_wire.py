"""The code that reads and writes messages uses the lengths and offsets in the protocols' specifications."""

from __future__ import annotations

from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trading_engine.wire import itch, ouch, soupbintcp
from trading_engine.wire.layout import Protocol, WireError

LENGTHS = [
    (ouch.INBOUND, {"O": 49, "U": 47, "X": 19, "M": 20, "N": 15}),
    (
        ouch.OUTBOUND,
        {
            "S": 10, "A": 66, "U": 80, "C": 28, "E": 40, "B": 32, "J": 24, "M": 28,
        },
    ),
    (
        itch.FEED,
        {
            "S": 12, "R": 39, "H": 25, "A": 36, "F": 40, "E": 31, "C": 36,
            "X": 23, "D": 19, "U": 35, "P": 44, "Q": 40, "B": 19,
        },
    ),
]  # fmt: skip


@pytest.mark.parametrize(("protocol", "lengths"), LENGTHS)
def test_every_message_has_the_length_of_its_specification(protocol: Protocol, lengths: dict[str, int]) -> None:
    assert {chr(code): layout.size_bytes for code, layout in protocol.by_code.items()} == lengths


@pytest.mark.parametrize(
    ("protocol", "code", "name", "offset"),
    [
        (ouch.INBOUND, "O", "shares", 16),
        (ouch.INBOUND, "O", "price_e4", 28),
        (ouch.INBOUND, "O", "minimum_shares", 43),
        (ouch.INBOUND, "U", "new_token", 15),
        (ouch.INBOUND, "U", "minimum_shares", 43),
        (ouch.OUTBOUND, "A", "reference", 49),
        (ouch.OUTBOUND, "A", "state", 64),
        (ouch.OUTBOUND, "U", "previous_token", 65),
        (ouch.OUTBOUND, "E", "match", 32),
        (itch.FEED, "A", "price_e4", 32),
        (itch.FEED, "P", "match", 36),
        (itch.FEED, "R", "etp_leverage", 34),
    ],
)
def test_a_field_begins_where_the_specification_says(protocol: Protocol, code: str, name: str, offset: int) -> None:
    fields = {field.name: field.offset for field in protocol.by_code[ord(code)].fields}
    assert fields[name] == offset


def example_of(protocol: Protocol, code: int) -> tuple[Any, ...]:
    layout = protocol.by_code[code]
    values = [
        "AB"[: field.size_bytes] if annotation is str else 1 + position
        for position, (field, annotation) in enumerate(
            zip(layout.fields, get_type_hints(layout.message).values(), strict=True)
        )
    ]
    return layout.message(*values)  # type: ignore[no-any-return]


@pytest.mark.parametrize("protocol", [ouch.INBOUND, ouch.OUTBOUND, itch.FEED])
def test_what_is_encoded_decodes_to_the_same(protocol: Protocol) -> None:
    for code in protocol.by_code:
        message = example_of(protocol, code)
        assert protocol.decode(protocol.encode(message)) == message


def test_text_is_padded_with_blanks_on_the_right_and_numbers_are_big_endian() -> None:
    data = ouch.INBOUND.encode(ouch.CancelOrder("ab", 0x01020304))
    assert data == b"Xab            \x01\x02\x03\x04"


@pytest.mark.parametrize(
    "message",
    [ouch.CancelOrder("fifteen letters", 1), ouch.CancelOrder("a", -1), ouch.CancelOrder("a", 1 << 32)],
)
def test_a_value_that_does_not_fit_is_refused(message: ouch.CancelOrder) -> None:
    with pytest.raises(WireError, match="CancelOrder"):
        ouch.INBOUND.encode(message)


@pytest.mark.parametrize("data", [b"", b"X", b"?" * 19, b"X" * 20])
def test_bytes_of_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        ouch.INBOUND.decode(data)


def test_an_itch_time_beyond_48_bits_is_refused() -> None:
    with pytest.raises(WireError, match="48 bits"):
        itch.FEED.encode(itch.SystemEvent(0, 0, 1 << 48, "O"))


@given(st.lists(st.binary(max_size=40), max_size=8), st.data())
def test_packets_survive_any_chunking(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(soupbintcp.unsequenced(payload) for payload in payloads)
    splitter = soupbintcp.Splitter()
    found = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += splitter.feed(stream[:size])
        stream = stream[size:]
    assert found == [(soupbintcp.UNSEQUENCED, payload) for payload in payloads]


def test_a_packet_of_length_zero_is_refused_even_when_nothing_follows() -> None:
    with pytest.raises(WireError, match="length 0"):
        soupbintcp.Splitter().feed(b"\0\0")


@pytest.mark.parametrize("number", ["7                   ", "                   7", "0000000000000000007 "])
def test_a_login_request_reads_numbers_justified_to_either_side(number: str) -> None:
    payload = b"trader" + b"secret    " + b"          " + number.encode()
    assert soupbintcp.parse_login_request(payload) == ("trader", "secret", "", 7, 0)


def test_a_login_request_may_be_padded_with_nuls() -> None:
    payload = b"anna\0\0" + b"secret\0\0\0\0" + b"\0" * 10 + b"7".ljust(20, b"\0")
    assert soupbintcp.parse_login_request(payload) == ("anna", "secret", "", 7, 0)


@pytest.mark.parametrize(
    ("digits", "timeout_s"),
    [("    5", 5), ("00030", 30), ("0    ", 0), ("    1", 1), ("99999", 60), ("     ", 0), ("\0" * 5, 0)],
)
def test_a_login_request_may_say_how_long_its_client_is_silent(digits: str, timeout_s: int) -> None:
    packet = soupbintcp.login_request("trader", "secret", sequence=7)
    payload = packet[3:] + digits.encode("ascii")
    assert soupbintcp.parse_login_request(payload) == ("trader", "secret", "", 7, timeout_s)
    assert len(payload) + 3 == soupbintcp.LONGEST_LOGIN_BYTES


def test_a_login_requests_timeout_is_a_number() -> None:
    with pytest.raises(WireError, match="heartbeat timeout 'never' is not a number"):
        soupbintcp.parse_login_request(soupbintcp.login_request("trader", "secret")[3:] + b"never")


def test_a_login_request_whose_number_is_none_is_refused() -> None:
    with pytest.raises(WireError, match="not a number"):
        soupbintcp.parse_login_request(b"trader" + b"secret    " + b" " * 10 + b"seven".ljust(20))


def test_login_accepted_tells_session_and_next_number() -> None:
    packet = soupbintcp.login_accepted("2026010500", 42)
    assert packet[:3] == b"\x00\x1fA"
    assert soupbintcp.parse_login_accepted(packet[3:]) == ("2026010500", 42)


def test_a_log_ends_before_an_incomplete_message() -> None:
    assert list(itch.split_log(b"\0\2ab\0\1c\0\5de")) == [b"ab", b"c"]


def test_a_login_request_does_not_show_its_password() -> None:
    assert "secret" not in repr(soupbintcp.LoginRequest("trader", "secret", "", 1))
