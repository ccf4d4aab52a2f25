"""Measures how the backup changes a client's latency.

The shipper is the program that sends the journal to a bucket. It shares one CPU with the engine. An emulated S3 runs on
the client's CPU at the lowest priority. The shipper sends far more often here than on a real host.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import boto3
from ansible_collections.lowlatency.trading.plugins.module_utils.statistics.verdict import judge

from tests.benchmarks import orderflow, processes, variants
from tests.benchmarks.figures import Figure
from tests.benchmarks.gateway import RESTING_ANSWER_BYTES
from tests.benchmarks.processes import DEADLINE_S
from tests.benchmarks.security import ORDERS, RATE, client_first, latencies_ns, paced, undisturbed_pairs

BUCKET = "trading-bench"
RPO_S = 2  # 60 on a host; shorter here, so that each slice sends an object
KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_EC2_METADATA_DISABLED": "true"}


@contextmanager
def idle(command: list[str], cpu: int, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that gets the CPU only when no other process needs the CPU.

    On a real host, CPUWeight=idle in the process's systemd unit has the same effect.
    """
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet) as process:
        try:
            os.sched_setscheduler(process.pid, os.SCHED_IDLE, os.sched_param(0))
            os.sched_setaffinity(process.pid, {cpu})
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


def objects(url: str) -> int:
    """Return the number of objects in the bucket of the emulated S3. Create the bucket if it is missing."""
    keys = {"aws_access_key_id": "bench", "aws_secret_access_key": "bench"}
    s3 = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)
    if BUCKET not in {one["Name"] for one in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=BUCKET)
    return sum(len(page.get("Contents", [])) for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET))


def wait_until_it_answers(url: str) -> None:
    """Wait until the emulated S3 answers requests."""
    deadline_s = time.monotonic() + DEADLINE_S
    while True:
        try:
            with urllib.request.urlopen(f"{url}/moto-api/", timeout=5):  # noqa: S310  our own process
                return
        except OSError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.1)


def wait_until_it_ships(url: str) -> int:
    """Wait until the shipper has sent an object. Return the number of objects in the bucket.

    The measurement begins only then, because a program needs more CPU time at its start than later.
    """
    deadline_s = time.monotonic() + DEADLINE_S
    while not (count := objects(url)):
        assert time.monotonic() < deadline_s, "the shipper has put nothing: is the CPU left to anybody?"
        time.sleep(0.1)
    return count


def backup(variant: str) -> Iterator[Figure]:
    """Measure a client's latency at 1,000 orders a second. Compare a running shipper with a stopped one."""
    flow = orderflow.Flow(levels=500)
    client_cpu, engine_cpu = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    port = processes.free_port()
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="backup-bench-")))
        server = stack.enter_context(processes.engine(variant))
        server.pin(engine_cpu)
        s3 = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        stack.enter_context(idle(s3, client_cpu, {**os.environ}))
        wait_until_it_answers(url)
        assert server.directory is not None
        assert objects(url) == 0
        file = folder / "backup.toml"
        file.write_text(
            f'[backup]\nbucket = "{BUCKET}"\nhost = "bench"\nregion = "us-east-1"\nrpo_seconds = {RPO_S}\n'
            f'endpoint = "{url}"\njournal = "{server.directory}/journal"\nfiles = []\n'
            f'state = "{folder}/sent.json"\nstatus = "{folder}/status.json"\n'
        )
        ship = [sys.executable, "-m", "trading_backup", "ship", str(file)]
        shipper = stack.enter_context(idle(ship, engine_cpu, {**variants.environment(variant), **KEYS}))
        before = wait_until_it_ships(url)
        client = processes.log_in(server, "B0")

        def measure(kind: str) -> tuple[float, float]:
            shipper.send_signal(signal.SIGCONT if kind == "with" else signal.SIGSTOP)
            times = latencies_ns(paced(client, [(flow.rest(), RESTING_ANSWER_BYTES) for _ in range(ORDERS)], RATE))
            flow.alive.clear()
            return processes.percentile(times, 50) / 1e3, processes.percentile(times, 99) / 1e3

        with client_first(client_cpu):
            pairs = undisturbed_pairs(("with", "without"), measure, [client_cpu, engine_cpu])
        assert shipper.poll() is None
        shipper.send_signal(signal.SIGCONT)
        sent = objects(url) - before
        assert sent >= len(pairs), f"only {sent} objects were put"
        client.close()
    names = ("p50", "p99")
    families = {name: [(pair["with"][n], pair["without"][n]) for pair in pairs] for n, name in enumerate(names)}
    verdicts = judge(families)
    for name, values in families.items():
        said = f"verdict: {verdicts[name].verdict}, p {verdicts[name].p:.2f}"
        what = f"{name} at {RATE:,} orders/s, with the backup ({said})"
        with_it, without = (statistics.median(column) for column in zip(*values, strict=True))
        yield Figure("backup", variant, what, with_it, "µs", "without", without)
