"""Run engine, feed and telemetry as local processes and measure them: the demo for computers that can boot no machine.

demo_local.py up DIRECTORY      start them unless they run, measure, print
demo_local.py down DIRECTORY    stop the processes that `up` started
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

import yaml

# The collection computes the verdict. scripts/demo makes it importable.
from ansible_collections.lowlatency.trading.plugins.filter import slo
from ansible_collections.lowlatency.trading.plugins.filter.slo_targets import PROMISED

READY_LIMIT_S = 20
STOP_LIMIT_S = 60
# The settings of the measurement are the defaults of the role that measures hosts.
SLO = yaml.safe_load((Path(__file__).parents[1] / "roles/slo/defaults/main.yml").read_text(encoding="utf-8"))
UNDISTURBED_S, LONGEST_S = 10, 60


PACKAGES = ("trading_engine", "trading_feed", "trading_telemetry")


def write_configuration(directory: Path) -> None:
    """Write the example configuration that each program prints, with one account for the measurement.

    An existing configuration is kept.
    """
    if (directory / "password").exists():
        return
    directory.mkdir(parents=True, exist_ok=True)
    password = secrets.token_hex(5)
    example = command_output("trading_engine", "example-config")
    hashed = command_output("trading_engine", "hash-password", given=password).strip()
    account = f'\n[accounts.{SLO["slo_account"]}]\npassword = "{hashed}"\ntest = true\ntokens = "increasing"\n'
    (directory / "engine.toml").write_text(example + account, encoding="utf-8")
    targets = "".join(f"{name} = {value}\n" for name, value in PROMISED.items() if name != "feed_p99_us")
    (directory / "slo.toml").write_text(targets, encoding="utf-8")
    (directory / "slo_feed.toml").write_text(f"p99_us = {PROMISED['feed_p99_us']}\n", encoding="utf-8")
    shared_memory = directory / tomllib.loads(example)["shared_memory"]["path"]
    telemetry = f'[http]\naddress = "127.0.0.1"\n[shared_memory]\npath = "{shared_memory}"\n'
    telemetry += f'[slo]\nfile = "{directory}/slo.toml"\n[access]\ntoken_file = "{directory}/token"\n'
    write_private(directory / "token", secrets.token_urlsafe(24))
    (directory / "telemetry.toml").write_text(telemetry, encoding="utf-8")
    # This file is written last, because its existence means that the configuration is complete.
    write_private(directory / "password", password)


def write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


def command_output(package: str, *arguments: str, given: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-m", package, *arguments], input=given, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(done.stderr.strip())
    return done.stdout


def command_line(pid: int) -> str:
    done = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout


def running(directory: Path, package: str) -> int | None:
    """Return the id of a program's process, as `start` recorded it, or None when that process does not run any more."""
    record = directory / f"{package}.pid"
    if not record.exists():
        return None
    pid = int(record.read_text(encoding="ascii"))
    return pid if str(directory) in command_line(pid) else None


def start(directory: Path, package: str, configuration: str) -> None:
    """Start a service unless it runs, and wait until it reports READY=1, as systemd would."""
    if running(directory, package):
        return
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(f"{folder}/notify")
        ready.settimeout(READY_LIMIT_S)
        log = directory / f"{package}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", package, "--config", str(directory / configuration)],
                env={**os.environ, "NOTIFY_SOCKET": f"{folder}/notify"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        (directory / f"{package}.pid").write_text(str(process.pid), encoding="ascii")
        try:
            while b"READY=1" not in ready.recv(4096):
                pass
        except TimeoutError:
            raise SystemExit(f"{package} was not ready within {READY_LIMIT_S} s:\n{log.read_text()[-2000:]}") from None


def stop(directory: Path, package: str) -> None:
    """End a program's process and wait for its exit. The engine then writes a last snapshot to the directory."""
    pid = running(directory, package)
    if pid:
        os.kill(pid, signal.SIGTERM)
        end_s = time.monotonic() + STOP_LIMIT_S
        while running(directory, package):
            if time.monotonic() > end_s:
                raise SystemExit(f"{package} (process {pid}) did not end within {STOP_LIMIT_S} s")
            time.sleep(0.1)  # poll, because the process is no child of this one
    (directory / f"{package}.pid").unlink(missing_ok=True)


def looked_at(directory: Path) -> dict[str, Any]:
    """Return the CPU time that engine, feed and telemetry have used until now.

    The result has the form in which the module trading_host_info describes a host.
    """
    pids = [pid for package in PACKAGES if (pid := running(directory, package))]
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    busy_s = {}
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rsplit(b")", 1)[1].split()
        busy_s[str(pid)] = (int(fields[11]) + int(fields[12])) / ticks_per_s
    return {"cpu_busy_s": busy_s, "cpu_scope": "processes", "cpus": 1}


def measure(directory: Path) -> list[slo.Row]:
    """Send orders at the promised rate until enough time was undisturbed. Return the rows of the verdict.

    Time is undisturbed when nothing outside of the programs took or slowed the CPUs.
    """
    cpus = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else [0]
    engine = running(directory, "trading_engine")
    if engine and len(cpus) > 1:
        os.sched_setaffinity(engine, {cpus[-1]})
    targets = {name: float(value) for name, value in PROMISED.items()}
    shared_memory = tomllib.loads((directory / "engine.toml").read_text(encoding="utf-8"))["shared_memory"]["path"]
    options = ["--host", "127.0.0.1", "--port", "9001", "--account", SLO["slo_account"], "--symbol", SLO["slo_symbol"]]
    options += ["--password-file", str(directory / "password"), "--rate", str(SLO["slo_offered_per_s"])]
    options += ["--feed", "--duration", str(SLO["slo_duration_s"]), "--state", str(directory / shared_memory)]
    options += ["--witness"] if sys.platform == "linux" else []
    options += ["--keep-off", str(cpus[-1])] if len(cpus) > 1 else []
    options += ["--engine-process", str(engine)] if engine and len(cpus) > 1 else []
    load: dict[str, Any] = {"looks": [], "on_host": True, "disturbed": "set_aside", "unwatched": ""}
    load["wanted_s"] = UNDISTURBED_S
    runs: list[str] = []
    while True:
        kept = directory / f"round.{len(runs) // 2}"
        before = looked_at(directory)
        bench("trading_bench", *options, "--keep", str(kept))
        runs += ["--run", str(kept)]
        load["looks"].append([before, looked_at(directory)])
        bench("trading_bench.figures", *runs, "--json", str(directory / "figures.json"))
        load["figures"] = json.loads((directory / "figures.json").read_text(encoding="utf-8"))
        offered_s = SLO["slo_duration_s"] * len(runs) // 2
        if offered_s >= LONGEST_S or not slo.slo_needs_more(targets, load):
            return slo.load_rows(targets, load)


def bench(module: str, *options: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, *options], stdout=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise SystemExit(f"not measured: {module} ended with exit code {done.returncode}")


def main() -> int:
    verb, directory = sys.argv[1], Path(sys.argv[2]).resolve()
    if verb == "down":
        for package in reversed(PACKAGES):
            stop(directory, package)
        return 0
    write_configuration(directory)
    start(directory, "trading_engine", "engine.toml")
    start(directory, "trading_feed", "engine.toml")
    start(directory, "trading_telemetry", "telemetry.toml")
    rows = measure(directory)
    for line in slo.slo_table(rows):
        print(f"  {line}")
    token = (directory / "token").read_text(encoding="ascii") if (directory / "token").exists() else ""
    print(f"  live page      http://127.0.0.1:8000/{token and '#token=' + token}   (until scripts/demo down)")
    missed, unmeasured = slo.slo_missed(rows), slo.slo_unmeasured(rows)
    if unmeasured:
        print(f"WARNING: {'; '.join(unmeasured)}", file=sys.stderr)
    if missed:
        print(f"error: {'; '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
