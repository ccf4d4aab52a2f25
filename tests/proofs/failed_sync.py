"""Lets a sync of the journal fail because its device fails. No acknowledged message may be lost.

In scripts/prove durability, a library only pretends that the system call fails. Here a real kernel's device fails, in a
QEMU machine. After such a failure, the kernel still marks the pages as written. A restarted engine could therefore read
data that the disk does not have. tests/proofs/sync_cases.py runs the cases on the machine. The machine has the
sandbox's disk, but not its network and services.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from embedded_ec2 import preflight
from embedded_ec2.image import VIRTUAL, ensure_image
from embedded_ec2.qemu import find_accelerator
from embedded_ec2.qemu_image import DISK, INITRD, KERNEL

from tests.collected_wheels import CACHE, collect
from tests.proofs.evidence import ROOT, Evidence

_KINDS = [
    ("unrewritten", "disk"),
    ("once", "disk"),
    ("still", "disk"),
    ("all", "disk"),
    ("once", "os"),
    ("still", "os"),
]
# How many orders are sent before the sync that fails. The number decides where the record is: in which memory page, and
# where in this page.
_ORDERS = [1, 40, 97]
CASES = [(kind, durability, orders) for orders in _ORDERS for kind, durability in _KINDS]
_SOURCES = [
    "tests/proofs/__init__.py",
    "tests/proofs/durability.py",
    "tests/proofs/evidence.py",
    "tests/proofs/failing_device.py",
    "tests/proofs/sync_cases.py",
    "tests/unit/engine/process.py",
]
_ENGINE = ROOT / "files/engine/src/trading_engine"
_NEEDED = ("uvloop", "tzdata")  # the engine's dependencies
_PYTHON = "3.11"  # the version on the sandbox's disk
_MEMORY_MIB = 1024
# The script that the machine's kernel starts as its first process. The second disk has the programs.
_INIT = """#!/bin/bash
export PATH=/usr/sbin:/usr/bin HOME=/root PYTHONPATH=src:wheels:.
ip link set lo up
modprobe -a loop dm-flakey
mount -o ro /dev/vdb /srv && cd /srv && echo "KERNEL $(uname -r)" && python3 -m tests.proofs.sync_cases 2>&1
sync
echo o > /proc/sysrq-trigger
sleep infinity
"""


def prove(syncs: int) -> Path:
    """Let this many syncs fail. Write the record and return its path.

    Raises AssertionError when a message is lost.
    """
    preflight.require_machines_possible(qemu=True)
    evidence = Evidence("failed-sync", syncs)
    kernel = ""
    with tempfile.TemporaryDirectory(prefix="failed-sync-") as name:
        for word, said in _run(Path(name), CASES[evidence.done : syncs]):
            if word == "KERNEL":
                kernel = said
            else:
                evidence.add({"kernel": kernel, **json.loads(said)})
                print(f"{evidence.done} of {syncs}: {evidence.results[-1]}", file=sys.stderr)
    assert evidence.done == min(syncs, len(CASES)), "the machine ended before its last case"
    return evidence.finish({"file_system": "ext4", "device": "dm-flakey", "failed_syncs": evidence.results})


def _run(work: Path, cases: list[tuple[str, str, int]]) -> Iterator[tuple[str, str]]:
    """Boot a machine that runs these cases. Yield its reports, each as a keyword and a text.

    Without cases, boot no machine. Raises AssertionError when a case fails.
    """
    if not cases:
        return
    image = ensure_image(VIRTUAL, lambda text: print(text, file=sys.stderr))
    disk, programs = work / "disk", work / "programs"
    subprocess.run(["cp", "--reflink=auto", "--sparse=always", image / DISK, disk], check=True)
    (work / "init").write_text(_INIT)
    commands = f"write {work}/init /proof\nsif /proof mode 0100755\n"
    subprocess.run(
        ["debugfs", "-w", "-f", "/dev/stdin", disk], input=commands, text=True, capture_output=True, check=True
    )
    _gather(work / "tree", cases)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", work / "tree", programs, "128M"], check=True)
    argv = [
        *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *find_accelerator(image),
        *("-smp", "2", "-m", str(_MEMORY_MIB), "-kernel", str(image / KERNEL), "-initrd", str(image / INITRD)),
        *("-append", "root=/dev/vda rw console=ttyS0 quiet panic=-1 init=/proof"),
        *("-drive", f"file={disk},format=raw,if=virtio,cache=unsafe"),
        *("-drive", f"file={programs},format=raw,if=virtio,readonly=on"),
        *("-device", "virtio-rng-pci", "-chardev", "stdio,id=console", "-serial", "chardev:console"),
    ]
    log: list[str] = []
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace"
    ) as machine:
        assert machine.stdout is not None
        try:
            for line in machine.stdout:
                word, _, said = line.strip().partition(" ")
                if word in ("KERNEL", "SEEN"):
                    yield word, said
                log.append(line)
                assert word != "FAILED", "".join(log[-30:])
        finally:
            machine.kill()


def _gather(tree: Path, cases: list[tuple[str, str, int]]) -> None:
    """Copy to the directory `tree`: the engine's sources, its dependencies, this proof's programs, and the cases."""
    made = collect(
        project=str(ROOT / "files/engine"), cache_dir=str(CACHE), architecture="x86_64", python_version=_PYTHON,
        compiled="never",
    )  # fmt: skip
    tree.mkdir()
    with tarfile.open(made["archive"]) as tar:
        for member in tar.getnames():
            if member.startswith(_NEEDED):
                tar.extract(member, tree)
                with zipfile.ZipFile(tree / member) as wheel:
                    wheel.extractall(tree / "wheels")  # noqa: S202  # our own
                (tree / member).unlink()
    shutil.copytree(_ENGINE, tree / "src" / _ENGINE.name, ignore=shutil.ignore_patterns("__pycache__"))
    for source in _SOURCES:
        (tree / source).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / source, tree / source)
    (tree / "cases.json").write_text(json.dumps(cases))
