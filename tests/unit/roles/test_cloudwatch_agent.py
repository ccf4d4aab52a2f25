"""The role writes a configuration for the CloudWatch agent. The agent's own schema accepts it.

With this configuration, the agent collects exactly the metrics that files/metrics.yml lists for the agent.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.lowlatency.trading.plugins.filter.schema import FilterModule

from .templates import ROOT, render

schema_problems = FilterModule().filters()["schema_problems"]

CONTRACT: dict[str, Any] = yaml.safe_load((ROOT / "files/metrics.yml").read_text(encoding="utf-8"))
# The schema is a part of the agent's package. This repository does not contain it.
SCHEMA_FILE = ROOT.parent / "shared/data/amazon-cloudwatch-agent-schema.json"
FACTS = {
    "default_ipv4": {"interface": "ens5"},
    "mounts": [
        {"mount": "/boot/efi", "device": "/dev/nvme1n1p128"},
        {"mount": "/", "device": "/dev/nvme0n1p1"},
    ],
}
READS_JOURNAL: dict[str, Any] = {
    "definitions": {"logsDefinition": {"properties": {"logs_collected": {"properties": {"journald": {}}}}}}
}


def configuration(
    schema: dict[str, Any], partitions: list[dict[str, Any]] | None = None, **facts: Any
) -> dict[str, Any]:
    """Return the configuration that the role writes for an agent whose package has this schema."""
    content = base64.b64encode(json.dumps(schema).encode()).decode()
    rendered: dict[str, Any] = render(
        "cloudwatch-agent.yml.j2",
        "cloudwatch_agent",
        ansible_facts=FACTS | facts,
        trading_partitions=partitions or [],
        __cloudwatch_agent_schema_file={"content": content},
    )
    return rendered


def collected(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the metrics that an agent with this configuration collects.

    Each is its name and the pattern for the processes that it measures.
    """
    found = []
    for plugin, given in document["metrics"]["metrics_collected"].items():
        for entry in given if isinstance(given, list) else [given]:
            for measurement in entry.get("measurement") or entry["metrics_include"]:
                found.append((f"{plugin}_{measurement}", entry.get("pattern", "")))
    return sorted(found)


@pytest.mark.parametrize("journald", [True, False])
def test_the_agents_own_schema_takes_it(journald: bool) -> None:
    if not SCHEMA_FILE.exists():
        pytest.skip(f"{SCHEMA_FILE.name}, a file of the agent's package, is not beside this checkout")
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    document = configuration(schema if journald else {})
    assert ("journald" in document["logs"]["logs_collected"]) is journald
    assert schema_problems(document, schema) == []
    del document["metrics"]["metrics_collected"]["cpu"]["measurement"]
    (problem,) = schema_problems(document, schema)
    assert problem.startswith("metrics.metrics_collected.cpu: 'measurement' is a required property")


def test_it_collects_the_contracts_metrics_and_no_others() -> None:
    document = configuration({})
    assert collected(document) == sorted((one["name"], one.get("pattern", "")) for one in CONTRACT["agent"]["metrics"])
    assert document["metrics"]["namespace"] == CONTRACT["cloudwatch"]["namespace"]
    assert document["agent"]["metrics_collection_interval"] == CONTRACT["agent"]["period_seconds"]


def test_each_name_is_its_inputs_and_its_dimensions_are_the_agents() -> None:
    beside = {
        "cpu": ["cpu"],
        "mem": [],
        "disk": ["fstype", "path"],
        "diskio": ["name"],
        "net": ["interface"],
        "netstat": [],
        "procstat": ["pattern", "process_name"],
        "ethtool": ["driver", "interface"],
    }
    for metric in CONTRACT["agent"]["metrics"]:
        assert metric["name"].startswith(metric["input"] + "_")
        assert metric["dimensions"] == ["InstanceId", *beside[metric["input"]]], metric["name"]


@pytest.mark.parametrize(
    ("device", "disk"),
    [("/dev/nvme0n1p1", "nvme0n1"), ("/dev/nvme0n1", "nvme0n1"), ("/dev/xvda1", "xvda"), ("/dev/sda", "sda")],
)
def test_one_disk_and_one_card_are_watched(device: str, disk: str) -> None:
    inputs = configuration({}, mounts=[{"mount": "/", "device": device}])["metrics"]["metrics_collected"]
    assert inputs["diskio"]["resources"] == [disk]
    assert inputs["net"]["resources"] == inputs["ethtool"]["interface_include"] == ["ens5"]


@pytest.mark.parametrize("schema", [READS_JOURNAL, {}])
def test_each_units_log_goes_into_the_environments_group(schema: dict[str, Any]) -> None:
    ((source, given),) = configuration(schema)["logs"]["logs_collected"].items()
    assert source == ("journald" if schema else "files")
    logged = ["trading-engine", "trading-feed", "telemetry"]
    assert [entry["log_stream_name"] for entry in given["collect_list"]] == [f"{{instance_id}}/{u}" for u in logged]
    assert {entry["log_group_name"] for entry in given["collect_list"]} == {"/trading/demo/host"}
    if source == "journald":
        assert [entry["units"] for entry in given["collect_list"]] == [[f"{unit}.service"] for unit in logged]
    else:
        unit = (ROOT / "roles/cloudwatch_agent/templates/etc/systemd/system/trading-log-file@.service.j2").read_text()
        assert "StandardOutput=append:/var/log/trading/%i.log" in unit
        assert [entry["file_path"] for entry in given["collect_list"]] == [f"/var/log/trading/{u}.log" for u in logged]


def test_each_partition_s_log_is_a_stream_of_its_own() -> None:
    two = [{"name": "alpha", "symbols": ["TEST"]}, {"name": "beta", "symbols": ["MSFT"]}]
    ((_source, given),) = configuration(READS_JOURNAL, two)["logs"]["logs_collected"].items()
    units = [unit for entry in given["collect_list"] for unit in entry["units"]]
    assert units == [
        *("trading-engine@alpha.service", "trading-engine@beta.service"),
        *("trading-feed@alpha.service", "trading-feed@beta.service", "telemetry.service"),
    ]


def test_a_host_may_write_into_that_group() -> None:
    account = {"aws_identity_partition": "aws", "aws_identity_account": "123456789012"}
    policy = render("host-policy.json.j2", "aws_identity", **account)
    assert policy["Statement"][1]["Resource"].endswith(":log-group:/trading/demo/*")


def test_without_a_package_it_is_not_applicable_and_nothing_is_changed(tmp_path: Path) -> None:
    reasons = {
        "false": "trading_publish is false",
        "true": "cloudwatch_agent_deb_url is not set, and Debian has no package",
    }
    debian = {"distribution": "Debian", "distribution_major_version": "12", "os_family": "Debian"}
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = {f"wanted-{wanted}": local | {"trading_publish": wanted} for wanted in reasons}
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    play = {"hosts": "all", "gather_facts": False, "vars": {"ansible_facts": debian}}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([{**play, "roles": ["lowlatency.trading.cloudwatch_agent"]}]))
    done = subprocess.run(
        ["ansible-playbook", "-i", "hosts.json", "play.yml"],
        cwd=tmp_path,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"), "ANSIBLE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for host, reason in zip(hosts, reasons.values(), strict=True):
        (said,) = re.findall(rf"^ok: \[{host}\] => (\{{$.*?^\}})", done.stdout, flags=re.MULTILINE | re.DOTALL)
        assert "not_applicable: " in said
        assert reason in said
        assert re.search(rf"^{host} .*\bchanged=0\b", done.stdout, flags=re.MULTILINE)
