"""The driver's counters, as ethtool shows them."""

import socket
import subprocess

from trading_telemetry.nic import statistics


def test_the_counters_of_every_interface_are_those_that_ethtool_shows() -> None:
    for _, interface in socket.if_nameindex():
        shown = subprocess.run(["ethtool", "-S", interface], capture_output=True, text=True, check=False)
        lines = shown.stdout.splitlines()[1:] if shown.returncode == 0 else []
        assert list(statistics(interface)) == [line.rsplit(":", 1)[0].strip() for line in lines], interface
