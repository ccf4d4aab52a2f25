"""Starts new instances with scripts/bootstrap-host as their user data. Each must become a trading host.

On some hosts, the script is killed during the first boot, in the middle of a step. It is then run again over SSH. At
the end, the script runs once more on each host and must change nothing. The machines are sandbox containers with Debian
12.
"""

from __future__ import annotations

import hashlib
import platform
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import httpx

from tests.integration.sandbox.conftest import Cloud, eventually
from tests.proofs.evidence import CACHE, ROOT, Evidence
from tests.proofs.mirror import serving

# The script is killed when the console shows this text. With the empty text, the script is not killed.
CASES = ("", "Unpacking ", "Install Ansible and the collection", "Release | Collect the wheels")
SCRIPT = ROOT / "scripts/bootstrap-host"
LOCKS = (ROOT / "requirements.lock", ROOT / "files/engine/requirements.lock")
SOURCES = [ROOT / name for name in ("roles", "playbooks", "plugins", "files/engine/src", "sandbox/src")]
NETWORK = IPv4Network("10.74.0.0/16")
GATEWAY = "10.74.1.1"
LIMIT_S = 1800.0
# The command that runs the user data again. cloud-init keeps the user data in this file.
AGAIN = "sudo /var/lib/cloud/instance/scripts/part-001"


def prove(hosts: int) -> Path:
    """Run the script on this many hosts. Write the record and return its path.

    Raises AssertionError when a host is not a trading host at the end.
    """
    evidence = Evidence("bootstrap", hosts, SOURCES)
    with tempfile.TemporaryDirectory(prefix="bootstrap-") as name:
        folder = Path(name)
        (folder / "wheels").symlink_to(_wheels())
        tarball = _tarball(folder)
        cloud = Cloud("bootstrap", NETWORK, folder)
        try:
            cloud.down()
            cloud.up()
            telemetry = {"IpProtocol": "tcp", "FromPort": 8000, "ToPort": 8000, "CidrIp": f"{GATEWAY}/32"}
            cloud.ec2.authorize_security_group_ingress(GroupId=cloud.group_id, **telemetry)
            with serving(folder, GATEWAY) as url:
                user_data = _user_data(url, tarball)
                for number in range(evidence.done, hosts):
                    host = _Host.launch(cloud, user_data)
                    evidence.add({"script_sha256": _sha256(SCRIPT), **host.bootstrap(CASES[number % len(CASES)])})
                    print(f"{number + 1} of {hosts}: {evidence.results[-1]}", file=sys.stderr)
        finally:
            cloud.down()
    return evidence.finish({"hosts": evidence.results})


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _tarball(folder: Path) -> Path:
    command = ["ansible-galaxy", "collection", "build", "--output-path", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (tarball,) = folder.glob("lowlatency-trading-*.tar.gz")
    return tarball


def _wheels() -> Path:
    """Return the directory with the wheels of both lock files for Python 3.11. Download those that are missing."""
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in LOCKS)).hexdigest()[:16]
    home = CACHE / f"wheels-{digest}"
    tags = [f"--platform={tag}_{platform.machine()}" for tag in ("manylinux_2_34", "manylinux_2_28", "manylinux_2_17")]
    options = ["--only-binary=:all:", "--require-hashes", "--no-deps", "--implementation=cp", "--python-version=3.11"]
    for lock in LOCKS:
        command = [sys.executable, "-m", "pip", "download", "-qq", *options, *tags, f"--dest={home}", f"-r{lock}"]
        subprocess.run(command, check=True)
    return home


def _user_data(url: str, tarball: Path) -> str:
    """Return the user data: the script, and before it the lines that a user in a network without internet adds."""
    return "\n".join(
        [
            "#!/bin/bash",
            f"export TRADING_RELEASE={url}/{tarball.name} TRADING_RELEASE_SHA256={_sha256(tarball)}",
            f"export http_proxy={url} no_proxy={GATEWAY}",
            f"export PIP_NO_INDEX=1 PIP_FIND_LINKS={url}/wheels/ PIP_TRUSTED_HOST={GATEWAY}",
            "export TRADING_EXTRA_VARS=/etc/trading-bootstrap.yml",
            # The host shares its CPUs with other programs, as the hosts of inventory/sandbox do.
            'echo "slo_disturbed: set_aside" >"$TRADING_EXTRA_VARS"',
            SCRIPT.read_text(encoding="utf-8"),
        ]
    )


@dataclass(frozen=True)
class _Host:
    cloud: Cloud
    instance_id: str
    address: str

    @classmethod
    def launch(cls, cloud: Cloud, user_data: str) -> _Host:
        instance = cloud.run(UserData=user_data)
        return cls(cloud, instance["InstanceId"], instance["PrivateIpAddress"])

    def bootstrap(self, killed_at: str) -> dict[str, Any]:
        """Observe the first boot and the later runs of the script. Then terminate the instance.

        When `killed_at` is not empty, the script is killed once the console shows this text. Then it runs again. Return
        `took_s`, the seconds until the host is ready, and the result of `_seen` for each run.
        """
        begun_s = time.monotonic()
        runs = []
        if killed_at:
            eventually(lambda: killed_at in self._console(), LIMIT_S)
            self._trust()
            self._shell("sudo systemctl kill --kill-whom=all --signal=KILL cloud-final.service")
            assert self._health() != 200, "it was killed too late"
            runs.append(_seen(self._shell(AGAIN)))
        else:
            eventually(lambda: re.search(r"bootstrap-host: \S+ \S+ (Done|ERROR)", self._console()), LIMIT_S)
            runs.append(_seen(self._console()))
        took_s = round(time.monotonic() - begun_s)
        assert self._health() == 200
        self._trust()
        runs.append(_seen(self._shell(AGAIN)))
        assert runs[-1]["changed"] == 0, runs
        assert self._shell("stat --format=%a /var/log/trading-bootstrap.log") == "600"
        self.cloud.ec2.terminate_instances(InstanceIds=[self.instance_id])
        eventually(lambda: self.cloud.row(self.instance_id) is None)
        return {"killed_at": killed_at, "took_s": took_s, "runs": runs}

    def _console(self) -> str:
        return self.cloud.console(self.instance_id)

    def _trust(self) -> None:
        """Read the SSH host keys from the machine. On the console they can appear only after the user data has run."""
        scanned = subprocess.run(["ssh-keyscan", self.address], check=True, capture_output=True, text=True)
        (self.cloud.directory / "known_hosts").write_text(scanned.stdout)

    def _shell(self, command: str) -> str:
        """Run a command over SSH and return its output. Raises AssertionError when the command fails."""
        done = self.cloud.ssh(self.address, command, limit_s=LIMIT_S)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr
        return done.stdout.strip()

    def _health(self) -> int | None:
        try:
            return httpx.get(f"http://{self.address}:8000/health", timeout=5).status_code
        except httpx.TransportError:
            return None


def _seen(said: str) -> dict[str, Any]:
    """Return two things from the output of a run: its `steps`, and how many tasks `changed` something.

    Raises AssertionError when the run failed.
    """
    steps = [line.partition("bootstrap-host: ")[2].strip() for line in said.splitlines() if "bootstrap-host: " in line]
    assert steps, said[-6000:]
    assert "Done. " in steps[-1], said[-6000:]
    return {"changed": sum(map(int, re.findall(r"\bchanged=(\d+)", said))), "steps": steps}
