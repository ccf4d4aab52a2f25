"""The sandbox recognizes its processes correctly, whatever names they give themselves."""

import os
import subprocess
import sys

from embedded_ec2 import processes

# A program that gives itself a name that is not UTF-8. Then it waits until its input ends.
ODD = """
import ctypes, sys
ctypes.CDLL(None).prctl(15, b"\\xfc) R 1", 0, 0, 0)
print("named", flush=True)
sys.stdin.read()
"""


def test_a_process_of_an_odd_name_is_found_and_counted_among_the_children() -> None:
    with subprocess.Popen([sys.executable, "-c", ODD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"named\n"
        started = processes.start_ticks(child.pid)
        assert started is not None
        assert processes.is_alive(child.pid, started)
        assert child.pid in processes.children(os.getpid())
        child.communicate()
