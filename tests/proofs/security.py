"""Checks that a stranger cannot use a host, and that the host's units have only the rights that they need.

A sandbox machine is configured like a user's host, with TLS. nmap scans its ports over IPv4 and IPv6, from an allowed
address and from another one. nmap also scans them while the security group allows everything. lynis audits the host
from inside. The machine is a container with Debian 12, so lynis sees some settings of this machine's kernel, such as
boot arguments.
"""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from trading_engine.wire import soupbintcp

from tests.integration.sandbox.conftest import eventually
from tests.proofs.evidence import ROOT, Evidence
from tests.proofs.mirror import serving
from tests.proofs.tuning_host import TuningHost, booted
from tests.tls import made
from tests.unit.collection.test_units import MOST_EXPOSED

SOURCES = [ROOT / name for name in ("roles", "playbooks", "plugins", "files/engine/src", "sandbox/src")]
GATEWAY = "10.75.1.1"
CONFIGURE = ROOT / "playbooks/configure.yml"
DECLARED = {22, 8000, 9011, 9012}
UNDECLARED = 9999
EVERYTHING = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
# The units to test. For each, the forbidden actions of the probe that this unit needs and may do.
PROBED = {
    "trading-engine.service": [],
    "trading-feed.service": [],
    "trading-tls.service": [],
    "trading-backup.service": ["connect to another host"],
}
NAME = "prove-security"  # the name of the sandbox, the environment and the role
PROBE = ROOT / "extensions/molecule/shared/probe.py"
# Two IPv6 networks. The host's firewall allows operators in the first one only.
IPV6 = {"inside": "fd42:75:1::", "outside": "fd42:75:2::"}
WRONG_PASSWORDS = 12
REPORT = "/var/log/lynis-report.dat"
LYNIS = f"lynis audit system --quick --quiet --no-colors >&2; grep -E '^(hardening_index|suggestion|warning)' {REPORT}"
APT = "/etc/apt/apt.conf.d/99proof"


def prove(_: int) -> Path:
    """Check one host. Write the record and return its path.

    Raises AssertionError when an undeclared port is open, or when a unit has more rights than it needs.
    """
    evidence = Evidence("security", 1, SOURCES)
    if not evidence.done:
        with (
            tempfile.TemporaryDirectory(prefix="security-") as name,
            booted(NAME, "10.75.0.0/16") as host,
            serving(Path(name), GATEWAY) as url,
        ):
            evidence.add(_Proof(host, url).results())
        # The kernel's log of refused packets cannot be tested in a container. This test boots a machine with its own
        # kernel.
        command = [str(ROOT / "scripts/test"), "own-kernel", "-k", "the_kernel_writes_down"]
        subprocess.run(command, env={**os.environ, "TRADING_PROOF": "1"}, check=True)
    return evidence.finish(evidence.results[0])


def open_ports(address: str, *inside: str, options: tuple[str, ...] = ()) -> list[int]:
    """Return all TCP ports that nmap finds open at the address, sorted.

    nmap runs in another network namespace when `inside` is given. `inside` is a command such as `ip netns exec NAME`.
    """
    scan = ["nmap", "-n", "-Pn", "-sS", "-p-", "--min-rate", "10000", "--max-retries", "1", *options, "-oG", "-"]
    found = subprocess.run([*inside, *scan, address], capture_output=True, text=True, check=True).stdout
    return sorted(int(port) for port in re.findall(r"\b(\d+)/open/", found))


class _Proof:
    def __init__(self, host: TuningHost, url: str) -> None:
        self._host = host
        self._url = url
        # The emulated AWS. The host reaches it at the address of the metadata service.
        self._metadata_url = f"http://169.254.169.254:{urlsplit(host.cloud.settings['AWS_ENDPOINT_URL']).port}"
        self._authority = made("authority")
        pair = made("orders", self._authority)
        folder = host.cloud.directory
        certificate, key = pair.write(folder, "orders")
        self._variables: dict[str, Any] = {
            "trading_operator_cidr": f"{GATEWAY}/32",
            "trading_operator_ipv6_cidrs": [f"{IPV6['inside']}/64"],
            "trading_client_cidrs": [f"{GATEWAY}/32"],
            "trading_engine_compiled": "never",
            "trading_tls": {"certificate": str(certificate), "key": str(key)},
            "trading_publish": True,
            "cloudwatch_agent_state": "absent",
            "trading_region": host.cloud.settings["AWS_REGION"],
            "trading_environment": NAME,
            "trading_backup": "bucket",
            "journal_backup_endpoint": self._metadata_url,
            "telemetry_settings": {"cloudwatch": {"period_s": 10}},
        }

    def results(self) -> dict[str, Any]:
        host = self._host
        found: dict[str, Any] = {}
        host.shell(f"echo 'Acquire::http::Proxy \"{self._url}\";' > {APT}; apt-get update -qq")
        host.shell("DEBIAN_FRONTEND=noninteractive apt-get install -y -qq lynis >/dev/null")
        from_gateway = [
            {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": f"{GATEWAY}/32"}]}
            for port in sorted(DECLARED - {22})
        ]
        cloud = host.cloud
        cloud.ec2.authorize_security_group_ingress(GroupId=cloud.group_id, IpPermissions=from_gateway)
        self._say("lynis before")
        before = self._lynis()
        self._say("configure")
        self._give_a_role()
        self._make_a_bucket()
        self._configure()
        self._say("units")
        found["exposure"] = {unit: self._exposure(unit, most) for unit, most in MOST_EXPOSED.items()}
        found["tls"] = self._tls()
        found["probe"] = {unit: self._probe(unit, needed) for unit, needed in PROBED.items()}
        self._say("publisher and shipper")
        found["published_metrics"] = eventually(self._published)
        found["shipped_objects"] = eventually(self._shipped)
        self._say("ports")
        found["ports"] = self._ports()
        self._say("lynis after")
        after = self._lynis()
        found["lynis"] = {
            "index": [before["index"], after["index"]],
            "no_more": sorted(set(before["suggestions"]) - set(after["suggestions"])),
            "remaining": after["suggestions"],
        }
        self._say(json.dumps(found["lynis"]))
        assert after["index"] >= before["index"]
        self._say("without TLS again")
        self._without_tls()
        return found

    def _say(self, step: str) -> None:
        print(f"security: {step}", file=sys.stderr, flush=True)

    def _configure(self) -> None:
        arguments = ("-e", json.dumps(self._variables))
        self._host.play_to_the_end(CONFIGURE, *arguments)
        again = self._host.play_to_the_end(CONFIGURE, *arguments)
        assert " changed=0 " in again.output, [line for line in again.output.splitlines() if "changed:" in line]

    def _lynis(self) -> dict[str, Any]:
        lines = self._host.shell(LYNIS).splitlines()
        (index,) = (int(line.partition("=")[2]) for line in lines if line.startswith("hardening_index="))
        fields = [line.partition("=")[2].split("|") for line in lines if line.startswith(("suggestion", "warning"))]
        return {"index": index, "suggestions": dict(sorted((name, text) for name, text, *_ in fields))}

    def _exposure(self, unit: str, most: float) -> float:
        said = self._host.shell(f"systemd-analyze security --no-pager {unit} | tail -n 1")
        exposure = float(re.findall(r": ([0-9.]+) ", said)[0])
        assert exposure <= most, said
        return exposure

    # -- the publisher and the shipper ------------------------------------------------------------------------------

    def _give_a_role(self) -> None:
        """Give the instance an IAM role. Set the emulated AWS as the endpoint of the host's publisher."""
        host, cloud = self._host, self._host.cloud
        iam, name = cloud.client("iam"), NAME
        trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)
        iam.create_instance_profile(InstanceProfileName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
        (machine,) = (row["instance_id"] for row in cloud.status() if row["private_address"] == host.address)
        cloud.ec2.associate_iam_instance_profile(InstanceId=machine, IamInstanceProfile={"Name": name})
        folder = "/etc/systemd/system/trading-publish.service.d"
        line = f"Environment=AWS_ENDPOINT_URL={self._metadata_url}"
        host.shell(f"mkdir -p {folder}; printf '[Service]\\n%s\\n' {line} > {folder}/endpoint.conf")

    def _published(self) -> list[str]:
        """Return the names of the metrics that the publisher has sent.

        First check that the host's firewall is loaded.
        """
        assert "table inet trading" in self._host.shell("nft list tables")
        metrics = self._host.cloud.client("cloudwatch").list_metrics()["Metrics"]
        return sorted({metric["MetricName"] for metric in metrics if not metric["Namespace"].startswith("AWS/")})

    def _make_a_bucket(self) -> None:
        cloud = self._host.cloud
        account = cloud.client("sts").get_caller_identity()["Account"]
        self._bucket = f"trading-{NAME}-{account}-{cloud.settings['AWS_REGION']}"
        cloud.client("s3").create_bucket(Bucket=self._bucket)

    def _shipped(self) -> int:
        """Return how many objects the backup's shipper has sent to the bucket."""
        return int(self._host.cloud.client("s3").list_objects_v2(Bucket=self._bucket)["KeyCount"])

    # -- TLS --------------------------------------------------------------------------------------------------------

    def _tls(self) -> dict[str, Any]:
        """Log in over TLS. After wrong passwords, check that the engine throttles this machine's address and no other.

        Also check that the ports without TLS accept connections only at the loopback address.
        """
        host = self._host
        shown = host.shell("stat --format=%U:%a /etc/trading/tls/key.pem; ss -Hltn | awk '{print $4}'").split()
        assert shown[0] == "root:600", shown
        clear = [place for place in shown if place.rpartition(":")[2] in {"9001", "9002", "9021", "9022"}]
        assert len(clear) == 4
        assert all(place.startswith("127.0.0.1:") for place in clear), clear
        password = host.shell("cat /etc/trading/secrets/BENCH.password")
        for port in (9011, 9012):
            assert self._answer(port, soupbintcp.login_request("BENCH", password, sequence=0)) == "A"
        for _ in range(WRONG_PASSWORDS):
            self._answer(9011, soupbintcp.login_request("BENCH", "wrong", sequence=0))
        assert self._answer(9011, soupbintcp.login_request("BENCH", password, sequence=0)) == "J"
        on_host = f"""python3 - <<'END'
import socket
with socket.create_connection(("127.0.0.1", 9001), 10) as sock:
    sock.sendall({soupbintcp.login_request("BENCH", password, sequence=0)!r})
    print(chr(sock.recv(3)[2]))
END"""
        assert host.shell(on_host) == "A"  # this address is not throttled
        return {"clear_ports_listen_on": sorted(clear), "throttled": GATEWAY, "not_throttled": "127.0.0.1"}

    def _answer(self, port: int, data: bytes) -> str:
        context = ssl.create_default_context(cadata=self._authority.certificate_pem)
        context.check_hostname = False  # the certificate names the loopback address
        with socket.create_connection((self._host.address, port), 10) as raw, context.wrap_socket(raw) as secure:
            assert secure.version() == "TLSv1.3"
            secure.sendall(data)
            return chr(secure.recv(3)[2])

    def _without_tls(self) -> None:
        del self._variables["trading_tls"]
        self._host.play_to_the_end(CONFIGURE, "-e", json.dumps(self._variables))
        left = self._host.shell("ls -d /etc/trading/tls /etc/systemd/system/trading-tls.service 2>&1 || true")
        assert left.count("No such file") == 2, left
        eventually(lambda: open_ports(self._host.address) == [22, 8000, 9001, 9002])

    # -- what a unit can do -----------------------------------------------------------------------------------------

    def _probe(self, unit: str, needed: list[str]) -> dict[str, Any]:
        """Run the probe in place of a unit's program. The probe is a script that tries forbidden actions.

        Return which actions it `tried` and which of them `worked`. First, root connects to the probe's network target,
        to check that this target works.
        """
        host = self._host
        with socket.create_server((GATEWAY, 0)) as elsewhere:
            port = elsewhere.getsockname()[1]
            target = f"{GATEWAY} {port}"
            host.shell(f"timeout 5 bash -c '</dev/tcp/{GATEWAY}/{port}'")
            script = "\n".join(
                [
                    "set -e",
                    "mkdir -p -m 1777 /opt/everybody",
                    f"cat > /usr/local/lib/trading-probe.py <<'END'\n{PROBE.read_text(encoding='utf-8')}\nEND",
                    f"sed -E '/^(Restart|RestartSec|WatchdogSec|RuntimeDirectory)=/d; s/^Type=.*/Type=oneshot/; "
                    f"s|^ExecStart=.*|ExecStart=/usr/bin/python3 /usr/local/lib/trading-probe.py {target}\\n"
                    f"StandardOutput=truncate:/run/trading-probe.json|' /etc/systemd/system/{unit} "
                    "> /etc/systemd/system/trading-probe.service",
                    "systemctl daemon-reload",
                    "systemctl start trading-probe.service",
                    "cat /run/trading-probe.json",
                    "rm -r /opt/everybody /etc/systemd/system/trading-probe.service /usr/local/lib/trading-probe.py",
                    "systemctl daemon-reload",
                ]
            )
            outcome: dict[str, Any] = json.loads(host.shell(script))
        assert outcome["worked"] == needed, f"{unit} could {outcome['worked']}"
        assert "connect to another host" in outcome["names"]
        return {"tried": outcome["tried"], "worked": outcome["worked"]}

    # -- what a stranger finds --------------------------------------------------------------------------------------

    def _ports(self) -> dict[str, Any]:
        host, cloud = self._host, self._host.cloud
        host.shell(f"systemd-run --quiet --unit=undeclared python3 -m http.server --bind :: {UNDECLARED}")
        stranger = cloud.run()
        outside = ("ip", "netns", "exec", stranger["InstanceId"])
        found: dict[str, Any] = {}
        try:
            found["group_as_deployed"] = {
                "inside": open_ports(host.address),
                "outside": open_ports(host.address, *outside),
            }
            cloud.ec2.authorize_security_group_ingress(GroupId=cloud.group_id, IpPermissions=EVERYTHING)
            with self._without_rules():  # shows that the group lets everything through
                eventually(lambda: UNDECLARED in open_ports(host.address, *outside))
                found["group_opened_without_the_firewall"] = {"outside": open_ports(host.address, *outside)}
            found["group_opened"] = {
                "inside": open_ports(host.address),
                "outside": open_ports(host.address, *outside),
            }
            with self._ipv6() as namespace:
                within = ("ip", "netns", "exec", namespace)
                found["ipv6"] = {
                    side: open_ports(f"{prefix}2", *within, options=("-6",)) for side, prefix in IPV6.items()
                }
                found["refused"] = eventually(self._refused)
                with self._without_rules():
                    found["ipv6_without_the_firewall"] = {
                        "outside": open_ports(f"{IPV6['outside']}2", *within, options=("-6",))
                    }
        finally:
            cloud.ec2.terminate_instances(InstanceIds=[stranger["InstanceId"]])
            host.shell("systemctl stop undeclared.service")
        for group in ("group_as_deployed", "group_opened"):
            assert found[group] == {"inside": sorted(DECLARED), "outside": []}, found
        assert found["ipv6"] == {"inside": [22], "outside": []}, found  # only SSH listens on IPv6
        assert {22, UNDECLARED} <= set(found["ipv6_without_the_firewall"]["outside"]), found
        return found

    @contextmanager
    def _without_rules(self) -> Iterator[None]:
        """Remove the host's own firewall until the context ends. A timer must not load it again during this time."""
        timer = "trading-firewall-refusals.timer"
        self._host.shell(f"systemctl stop {timer}; nft delete table inet trading")
        try:
            yield
        finally:
            self._host.shell(f"systemctl restart trading-firewall.service; systemctl start {timer}")

    def _refused(self) -> list[str]:
        """Return the reasons for which the host's firewall has refused packets.

        Return an empty list until the reasons for a stranger's packets are among them.
        """
        said = self._host.shell("cat /run/trading-firewall/refusals.json").strip()
        counters = [
            entry["counter"] for entry in json.loads(said or '{"nftables": []}')["nftables"] if "counter" in entry
        ]
        reasons = sorted(counter["name"] for counter in counters if counter["packets"])
        return reasons if {"unknown_source", "undeclared_port"} <= set(reasons) else []

    @contextmanager
    def _ipv6(self) -> Iterator[str]:
        """Create a network namespace, and a link between it and the machine. Yield the namespace's name.

        There are two IPv6 networks. In each of them, both ends of the link have an address. At the end, the namespace
        is deleted.
        """
        rows = self._host.cloud.status()
        (machine,) = (row["instance_id"] for row in rows if row["private_address"] == self._host.address)
        namespace = "prove-security-v6"
        _ip("netns", "add", namespace)
        try:
            _ip("-n", namespace, "link", "add", "v6", "type", "veth", "peer", "name", "v6", "netns", machine)
            for netns, last in ((namespace, 1), (machine, 2)):
                _ip("-n", netns, "link", "set", "v6", "up")
                for prefix in IPV6.values():
                    _ip("-n", netns, "address", "add", f"{prefix}{last}/64", "dev", "v6", "nodad")
            yield namespace
        finally:
            _ip("netns", "delete", namespace)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
