"""The host's own firewall. The host's security group allows all traffic here, so only this firewall protects it.

A client outside of the declared networks reaches no port. A client inside of them reaches only the declared ports.
"""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.sandbox.conftest import eventually
from tests.proofs.tuning_host import Play, TuningHost, changes

HARDEN = Path(__file__).with_name("harden.yml")
# Runs only the role's tasks for the firewall, to save time. The fixture `loaded` runs the whole role once.
ALONE = ("--tags", "hardening_firewall")
DECLARED = {22, 8000, 9001, 9002}
LISTENING = {8000, 9001, 9002, 9999}
INSIDE = {"trading_operator_cidr": "10.207.1.1/32", "trading_client_cidrs": ["10.207.1.1/32"]}
OUTSIDE = {**INSIDE, "trading_operator_cidr": "192.0.2.0/24", "hardening_firewall_confirm_seconds": 20}
MAKES_USERS = "Firewall rules | Make the users that the rules name"
LOADS = "Firewall trial | Load the new rules"
REFUSALS = "/run/trading-firewall/refusals.json"
URL = "http://169.254.169.254/latest/api/token"
TOKEN = f"curl -s -m 5 -o /dev/null -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' {URL}"
# Lists all files with their checksums. Left out are files that systemd's timers, cloud-init and the user tools change.
KEPT = "-not -path '*/systemd/timers/*' -not -path '/var/lib/cloud/*' -not -name '*-'"
FILES = f"find /etc /var/lib -type f {KEPT} -exec sha256sum {{}} + ; find /etc -type l"


def load(host: TuningHost, variables: dict[str, Any], **options: Any) -> Play:
    return host.play(HARDEN, *ALONE, "-e", json.dumps(variables), **options)


def load_to_the_end(host: TuningHost, variables: dict[str, Any]) -> Play:
    return host.play_to_the_end(HARDEN, *ALONE, "-e", json.dumps(variables))


def is_loaded(host: TuningHost) -> bool:
    return "table inet trading" in host.shell("nft list tables")


def refused(host: TuningHost) -> Counter[str]:
    """Return how many packets the host has refused, by reason.

    The result is empty while the host is writing the file with these numbers.
    """
    written = host.shell(f"cat {REFUSALS}")
    entries = json.loads(written)["nftables"] if written.strip() else []
    counters = [entry["counter"] for entry in entries if "counter" in entry]
    return Counter({counter["name"]: counter["packets"] for counter in counters})


def open_ports(address: str, *inside: str) -> set[int]:
    """Return the TCP ports of the address that nmap finds open.

    nmap runs in another network namespace when `inside` is given. `inside` is a command such as `ip netns exec NAME`.
    """
    scan = ["nmap", "-n", "-Pn", "-sS", "-p", "1-10000", "--min-rate", "4000", "--max-retries", "2", "-oG", "-"]
    found = subprocess.run([*inside, *scan, address], capture_output=True, text=True, check=True).stdout
    return {int(word.split("/")[0].strip(" :,")) for word in found.replace("Ports:", "\n").split() if "/open/" in word}


@pytest.fixture(scope="module")
def host(tuning_host: TuningHost) -> Iterator[TuningHost]:
    """Yield a host with open ports that its variables do not declare. Its security group allows all traffic."""
    for port in LISTENING:
        tuning_host.shell(f"systemd-run --quiet --unit=listens-{port} python3 -m http.server {port}")
    everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    cloud = tuning_host.cloud
    cloud.ec2.authorize_security_group_ingress(GroupId=cloud.group_id, IpPermissions=everything)
    try:
        eventually(lambda: open_ports(tuning_host.address) == LISTENING | {22})
        yield tuning_host
    finally:
        cloud.ec2.revoke_security_group_ingress(GroupId=cloud.group_id, IpPermissions=everything)
        if is_loaded(tuning_host):  # only after a failure, because the last test removes the rules
            tuning_host.play(HARDEN, "-e", "hardening_state=absent")
        tuning_host.shell("systemctl stop 'listens-*'")


@pytest.fixture(scope="module")
def before(host: TuningHost) -> dict[str, str]:
    """Run the role hardening without an operator's network. Return the host's files as they were before this run."""
    host.play_to_the_end(HARDEN, "-e", "hardening_state=absent")
    untouched = files(host)
    play = host.play_to_the_end(HARDEN, *ALONE)
    assert "firewall is not loaded, because no operator's network is declared" in " ".join(play.output.split())
    assert not is_loaded(host)
    return untouched


def files(host: TuningHost) -> dict[str, str]:
    lines = host.shell(FILES).splitlines()
    return {line.split(maxsplit=1)[-1]: line for line in lines}


@pytest.fixture(scope="module")
def loaded(host: TuningHost, before: dict[str, str]) -> Play:
    """Run all tasks of the role hardening and return the result.

    The run declares this controller's address as operator and as client.
    """
    assert before
    return host.play_to_the_end(HARDEN, "-e", json.dumps(INSIDE))


@pytest.fixture(scope="module")
def locked_out(host: TuningHost, before: dict[str, str]) -> Play:
    """Run the role hardening with declared networks that do not contain this controller. Return the result."""
    assert before
    return load(host, OUTSIDE)


def test_rules_that_would_lock_the_controller_out_are_taken_back_and_the_play_says_so(
    host: TuningHost, locked_out: Play
) -> None:
    assert locked_out.exit_code != 0
    said = " ".join(locked_out.output.split())
    assert "would have locked this controller out" in said, locked_out.output[-4000:]
    assert "from the networks 192.0.2.0/24 to the ports 22, 8000" in said
    assert host.shell("echo reached") == "reached"
    assert not is_loaded(host)


def test_loading_keeps_open_sessions_and_a_second_run_changes_nothing(host: TuningHost, before: dict[str, str]) -> None:
    assert before
    cloud = host.cloud
    options = f"-o UserKnownHostsFile={cloud.directory / 'known_hosts'} -o BatchMode=yes"
    argv = ["ssh", "-i", str(cloud.key_file), *shlex.split(options), f"debian@{host.address}", "echo open; cat"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as session:
        assert session.stdout
        assert session.stdout.readline() == "open\n"
        load_to_the_end(host, INSIDE)
        assert session.communicate("after\n", timeout=60)[0] == "after\n"
    assert is_loaded(host)
    again = load_to_the_end(host, INSIDE)
    assert "changed=0" in again.output
    assert not [name for name in again.host_tasks if "Firewall trial" in name]


@pytest.mark.usefixtures("loaded")
def test_rules_that_would_cut_a_client_s_session_are_not_loaded_and_the_play_names_it(host: TuningHost) -> None:
    with socket.create_connection((host.address, 9001)) as session:
        play = load(host, {**INSIDE, "trading_client_cidrs": []})
        assert play.exit_code != 0
        assert "would cut open sessions" in play.output
        assert "not loaded: 10.207.1.1 on port 9001" in " ".join(play.output.split())
        session.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert session.recv(4) == b"HTTP"
    load_to_the_end(host, INSIDE)


@pytest.mark.usefixtures("loaded")
def test_outside_of_the_declared_networks_nothing_is_found_and_inside_the_declared_ports(host: TuningHost) -> None:
    stranger = host.cloud.run()
    try:
        assert open_ports(host.address, "ip", "netns", "exec", stranger["InstanceId"]) == set()
        assert open_ports(host.address) == DECLARED
        eventually(lambda: refused(host)["unknown_source"] >= len(DECLARED))
        eventually(lambda: refused(host)["undeclared_port"] > 0)
    finally:
        host.cloud.ec2.terminate_instances(InstanceIds=[stranger["InstanceId"]])


@pytest.mark.usefixtures("loaded")
def test_the_instance_s_metadata_are_root_s(host: TuningHost) -> None:
    host.shell(TOKEN)
    assert host.cloud.ssh(host.address, TOKEN).returncode == 7  # curl: "Failed to connect"
    eventually(lambda: refused(host)["instance_metadata"] > 0)


@pytest.mark.usefixtures("loaded")
def test_a_service_that_only_answers_connects_to_nobody_else(host: TuningHost) -> None:
    web = "python3 -c 'import socket; socket.create_connection((\"{}\", {}), 5)'"
    elsewhere = web.format("10.207.1.1", 22)
    host.shell(f"setpriv --reuid=trading-engine --clear-groups {web.format('127.0.0.1', 9001)}")
    refusal = host.shell(f"setpriv --reuid=trading-engine --clear-groups {elsewhere} 2>&1 || true")
    assert "No route to host" in refusal or "Permission denied" in refusal or "unreachable" in refusal, refusal
    eventually(lambda: refused(host)["connecting_out"] > 0)


@pytest.mark.usefixtures("loaded")
def test_more_new_connections_than_the_limit_are_dropped_and_counted(host: TuningHost) -> None:
    flood = ["nmap", "-n", "-Pn", "-sS", "-p", "9001", "--min-rate", "2000", "--max-retries", "0", host.address]
    load_to_the_end(host, {**INSIDE, "hardening_new_connections_per_second": 1})
    for _ in range(4):
        subprocess.run(flood, capture_output=True, check=True)
    eventually(lambda: refused(host)["too_many_connections"] > 0)
    load_to_the_end(host, INSIDE)


@pytest.mark.usefixtures("loaded")
def test_a_controller_that_dies_before_it_confirms_leaves_the_earlier_rules(host: TuningHost, locked_out: Play) -> None:
    earlier = host.shell("nft list set inet trading operators_ipv4")
    tasks = [name for name in locked_out.host_tasks if not name.endswith(MAKES_USERS)]
    at = next(number for number, name in enumerate(tasks, 1) if name.endswith(LOADS))
    killed = load(host, OUTSIDE, kill_after=at)
    assert killed.exit_code < 0
    assert killed.host_tasks[-1].endswith(LOADS)
    eventually(lambda: host.cloud.ssh(host.address, "true", limit_s=60).returncode == 0)
    assert host.shell("nft list set inet trading operators_ipv4") == earlier


@pytest.mark.usefixtures("loaded")
def test_the_rules_are_there_after_a_boot(host: TuningHost) -> None:
    earlier = host.shell("nft --stateless list chain inet trading input; touch /run/before-boot")
    host.cloud.ec2.reboot_instances(InstanceIds=[row["instance_id"] for row in host.cloud.status()])
    eventually(lambda: host.cloud.ssh(host.address, "test ! -e /run/before-boot").returncode == 0)
    assert host.shell("nft --stateless list chain inet trading input") == earlier
    eventually(lambda: "undeclared_port" in refused(host))


@pytest.mark.usefixtures("loaded")
def test_rules_that_somebody_flushed_are_loaded_again(host: TuningHost) -> None:
    host.shell("nft flush ruleset")
    eventually(lambda: is_loaded(host))


@pytest.mark.usefixtures("loaded")
def test_a_stop_while_refusals_are_written_down_loads_no_rules(host: TuningHost) -> None:
    unit = "trading-firewall-refusals.service"
    slow = f"/run/systemd/system/{unit}.d"
    state = f"$(systemctl show --value --property ActiveState {unit})"
    said = host.shell(
        f"mkdir -p {slow}; printf '[Service]\\nExecStart=\\nExecStart=/usr/bin/sleep 60\\n' > {slow}/slow.conf\n"
        f"systemctl daemon-reload; systemctl start --no-block {unit}\n"
        f'until [ "{state}" = activating ]; do sleep 0.1; done\n'
        f"systemctl stop trading-firewall; systemctl show --value --property Result {unit}; nft list tables\n"
        f"rm -r {slow}; systemctl daemon-reload; systemctl start trading-firewall trading-firewall-refusals.timer"
    )
    assert said.split() == ["success"]


def test_absent_brings_back_every_file(host: TuningHost, before: dict[str, str], loaded: Play) -> None:
    assert loaded.exit_code == 0
    host.play_to_the_end(HARDEN, "-e", "hardening_state=absent")
    assert not is_loaded(host)
    assert changes(before, files(host)) == {}
