"""The API where it had to be corrected, without machines."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Cloud, clouds


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    directory: Path = tmp_path_factory.mktemp("api")
    for (made,) in clouds({"test-api": "10.204.0.0/16"}, directory):
        made.up("--no-machines")
        yield made


def refused(call: Any, **arguments: Any) -> str:
    with pytest.raises(Exception) as error:  # noqa: PT011 (botocore makes its exception classes at run time)
        call(**arguments)
    return str(error.value.response["Error"]["Code"])  # type: ignore[attr-defined]


def test_unknown_images_keys_and_types_are_refused_as_on_aws(api: Cloud) -> None:
    assert refused(api.run, ImageId="ami-00000000000000000") == "InvalidAMIID.NotFound"
    assert refused(api.run, KeyName="nobodys") == "InvalidKeyPair.NotFound"
    assert refused(api.run, InstanceType="c6g.gigantic") == "InvalidInstanceType.NotFound"


def test_public_addresses_belong_to_nobody(api: Cloud) -> None:
    launched = api.run()
    elastic = api.ec2.allocate_address(Domain="vpc")
    addresses = [launched["PublicIpAddress"], elastic["PublicIp"]]
    assert all(address.startswith("203.0.113.") for address in addresses)
    assert len(set(addresses)) == 2


def test_public_addresses_are_handed_out_again_once_released(api: Cloud) -> None:
    first = api.ec2.allocate_address(Domain="vpc")
    api.ec2.release_address(AllocationId=first["AllocationId"])
    assert api.ec2.allocate_address(Domain="vpc")["PublicIp"] == first["PublicIp"]


def test_it_listens_on_loopback_only(api: Cloud) -> None:
    port = int(api.settings["AWS_ENDPOINT_URL"].rpartition(":")[2])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {row[1] for row in rows if row[3] == "0A" and int(row[1].partition(":")[2], 16) == port}
    assert listening == {f"0100007F:{port:04X}"}
