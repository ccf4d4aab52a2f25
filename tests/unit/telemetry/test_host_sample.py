"""Telemetry reads the host's figures from files of the kernel. Names in these files can contain any character."""

from pathlib import Path

from trading_telemetry.host import sample_host


def test_an_interface_may_have_any_name(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  1 2 3 4 5 6 7 8 0 0\n")
    (tmp_path / "meminfo").write_text("MemTotal: 2000 kB\nMemAvailable: 1500 kB\n")
    (tmp_path / "net").mkdir()
    columns = b"10 0 0 0 0 0 0 0 20 0 0 0 0 0 0 0"
    rows = [b"Inter-| Receive", b" face |bytes", b"    lo: " + columns, b"et\xfc\x85: " + columns, b"ens5: " + columns]
    (tmp_path / "net/dev").write_bytes(b"\n".join([*rows, b""]))
    sample = sample_host(tmp_path)
    assert (sample.received_bytes, sample.sent_bytes) == (20, 40)
