"""A real Prometheus finds hosts by their tags in the emulated EC2, with this project's example configuration.

Prometheus reads no metrics of hosts in other environments.
"""

import time
from collections.abc import Iterator
from typing import Any

import boto3
import httpx
import pytest
import yaml
from moto.server import ThreadedMotoServer

from tests.integration.telemetry.conftest import POLL_S, RULES, WAIT_S, fetch

REGION = "us-east-1"
KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}


@pytest.fixture
def endpoint() -> Iterator[str]:
    """Run an emulated EC2 and yield its URL.

    It has two hosts: one of the environment `production` at 127.0.0.1, and one of `staging` at 127.0.0.2.
    """
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    httpx.post(f"{url}/moto-api/reset").raise_for_status()  # deletes what other tests have created
    ec2 = boto3.client("ec2", region_name=REGION, endpoint_url=url, **KEYS)
    image = ec2.describe_images()["Images"][0]["ImageId"]
    for environment, address in (("production", "127.0.0.1"), ("staging", "127.0.0.2")):
        tags = {"Project": "lowlatency-trading", "Environment": environment, "Role": "trading"}
        tags["Name"] = f"trading-{environment}-1"
        ec2.run_instances(
            ImageId=image,
            MinCount=1,
            MaxCount=1,
            PrivateIpAddress=address,
            TagSpecifications=[
                {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
            ],
        )
    yield url
    server.stop()


@pytest.fixture
def example(endpoint: str, telemetry: str) -> dict[str, Any]:
    """Return the example configuration for hosts that are found by their tags."""
    read: dict[str, Any] = yaml.safe_load(RULES.with_name("scrape_ec2.yml").read_text(encoding="utf-8"))
    (job,) = read["scrape_configs"]
    (discovery,) = job["ec2_sd_configs"]
    keys = {"access_key": KEYS["aws_access_key_id"], "secret_key": KEYS["aws_secret_access_key"]}
    discovery |= {"endpoint": endpoint, "port": int(telemetry.rpartition(":")[2]), "refresh_interval": "1s", **keys}
    return read


def test_a_host_is_found_by_its_tags_and_goes_by_its_name(prometheus: str) -> None:
    """Prometheus finds a host by its tags, and calls the host by its name.

    The test checks which hosts Prometheus lists. No server runs at the address of the second host.
    """
    deadline_s = time.monotonic() + WAIT_S
    while not (found := fetch(f"{prometheus}/api/v1/targets?state=active")["data"]["activeTargets"]) or any(
        target["health"] == "unknown" for target in found
    ):
        assert time.monotonic() < deadline_s, f"no host was ever found and asked: {found}"
        time.sleep(POLL_S)
    assert [(each["labels"]["job"], each["labels"]["instance"], each["health"]) for each in found] == [
        ("trading", "trading-production-1", "up")
    ]
