"""Programs by other authors exchange messages with the engine, or read what the engine has written."""

from __future__ import annotations

import asyncio
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nasdaq_protocols import soup  # type: ignore[import-untyped]
from trading_engine.wire import ouch

from tests.unit.engine.capture import write_capture
from tests.unit.engine.process import DEADLINE_S, PASSWORD, Client, EngineProcess

PAR = 1_000_000


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineProcess]:
    with EngineProcess(tmp_path) as running:
        yield running


def dissect(capture: Path, port: int) -> list[dict[str, str]]:
    """Return what tshark reports about each packet, by field: SoupBinTCP types, OUCH types, and errors."""
    fields = ("soupbintcp.packet_type", "ouch.packet_type", "_ws.malformed", "_ws.expert.message")
    command = ["tshark", "-n", "-r", str(capture), "-d", f"tcp.port=={port},soupbintcp", "-T", "fields"]
    for field in fields:
        command += ["-e", field]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    return [dict(zip(fields, (part.strip("'") for part in line), strict=True)) for line in lines]


def split(stream: bytes) -> list[bytes]:
    """Split the bytes of a SoupBinTCP stream into packets. Each packet still has its length field."""
    packets = []
    while stream:
        end = 2 + int.from_bytes(stream[:2], "big")
        packets.append(stream[:end])
        stream = stream[end:]
    return packets


def test_wireshark_understands_every_packet_of_a_session(engine: EngineProcess, tmp_path: Path) -> None:
    client = Client(engine.port)
    client.send(
        ouch.EnterOrder("one", "B", 300, "TEST", PAR),
        ouch.EnterOrder("two", "S", 100, "TEST", PAR),
        ouch.ReplaceOrder("one", "three", 300, PAR - 100),
        ouch.ModifyOrder("three", "B", 200),
        ouch.CancelOrder("three", 0),
        ouch.EnterOrder("four", "B", 0, "TEST", PAR),
    )
    client.wait_for(9)
    engine.stop()
    client.wait(lambda: False)
    capture = tmp_path / "session.pcap"
    said = [(True, packet) for packet in split(client.sent)] + [(False, packet) for packet in split(client.raw)]
    write_capture(capture, engine.port, said)
    seen = dissect(capture, engine.port)
    assert [packet["_ws.malformed"] for packet in seen] == [""] * len(said)
    assert Counter(packet["soupbintcp.packet_type"] for packet in seen) == {"L": 1, "U": 6, "A": 1, "S": 9, "Z": 1}
    messages = Counter(packet["ouch.packet_type"] for packet in seen)
    assert messages[""] == len(said) - 15, messages
    assert {"O", "U", "X", "M", "A", "E", "C", "J", "S"} <= set(messages)


async def test_the_exchanges_own_client_logs_in_trades_and_resumes(engine: EngineProcess) -> None:
    def encoded(*messages: tuple[Any, ...]) -> list[bytes]:
        return [ouch.INBOUND.encode(message) for message in messages]

    async def session(sequence: int, send: list[bytes], replies: int) -> list[Any]:
        received: list[Any] = []
        enough = asyncio.Event()

        async def on_message(message: Any) -> None:
            if isinstance(message, soup.SequencedData):
                received.append(ouch.OUTBOUND.decode(message.data))
                if len(received) >= replies:
                    enough.set()

        client = await soup.connect_async(
            ("127.0.0.1", engine.port), "ANNA", PASSWORD, sequence=sequence, on_msg_coro=on_message
        )
        for data in send:
            client.send_unseq_data(data)
        await asyncio.wait_for(enough.wait(), DEADLINE_S)
        await client.close()
        return received

    orders = encoded(
        ouch.EnterOrder("one", "B", 300, "TEST", PAR),
        ouch.EnterOrder("two", "S", 100, "TEST", PAR),
        ouch.ReplaceOrder("one", "three", 300, PAR - 100),
        ouch.CancelOrder("three", 0),
    )
    first = await session(1, orders, 7)
    assert [type(message).__name__ for message in first] == [
        "SystemEvent", "Accepted", "Accepted", "Executed", "Executed", "Replaced", "Canceled",
    ]  # fmt: skip
    assert await session(4, [], 4) == first[3:]
    engine.stop()
    engine.start()
    after = await session(6, encoded(ouch.EnterOrder("five", "B", 1, "TEST", PAR)), 3)
    assert after[:2] == first[5:]
    assert await session(8, [], 1) == after[2:]
