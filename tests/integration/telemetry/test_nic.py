"""Telemetry reads a network driver's counters. Their values must be equal to the values that ethtool shows."""

import socket
import subprocess
import sys

from trading_telemetry.nic import statistics


def test_the_counters_of_every_interface_are_those_that_ethtool_shows() -> None:
    for _, interface in socket.if_nameindex():
        shown = subprocess.run(["ethtool", "-S", interface], capture_output=True, text=True, check=False)
        lines = shown.stdout.splitlines()[1:] if shown.returncode == 0 else []
        assert list(statistics(interface)) == [line.rsplit(":", 1)[0].strip() for line in lines], interface


def test_a_process_that_is_given_no_socket_has_no_counters() -> None:
    code = (
        "import resource; from trading_telemetry.nic import allowance_exceeded, statistics;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0));"
        "print(allowance_exceeded(), statistics('lo'))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == ("{} {}\n", "")
