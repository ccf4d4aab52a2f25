"""The firewall counts the packets that it refuses. A timer of root writes these numbers to a file.

Telemetry reads the numbers from this file.
"""

import os
from pathlib import Path

from trading_telemetry.refusals import refused_packets

# The file as nft 1.0.6 writes it.
LISTED = """{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
{"counter": {"family": "inet", "name": "unknown_source", "table": "trading", "handle": 7, "packets": 3, "bytes": 180}},
{"counter": {"family": "inet", "name": "undeclared_port", "table": "trading", "handle": 6, "packets": 0, "bytes": 0}}]}
"""


def test_the_packets_of_each_reason_are_read(tmp_path: Path) -> None:
    path = tmp_path / "refusals.json"
    path.write_text(LISTED)
    assert refused_packets(path) == {"unknown_source": 3, "undeclared_port": 0}


def test_without_a_firewall_nothing_is_known(tmp_path: Path) -> None:
    assert refused_packets(tmp_path / "refusals.json", {"unknown_source": 3}) is None


def test_what_was_read_before_counts_while_the_file_is_written(tmp_path: Path) -> None:
    path = tmp_path / "refusals.json"
    for text in ("", LISTED[:100], "[]", '{"nftables": [{"counter": {}}]}'):
        path.write_text(text)
        assert refused_packets(path, {"unknown_source": 3}) == {"unknown_source": 3}


def test_a_file_that_stays_empty_tells_of_a_firewall_that_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "refusals.json"
    path.touch()
    os.utime(path, (0, 0))
    assert refused_packets(path, {"unknown_source": 3}) is None
