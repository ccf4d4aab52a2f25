"""The module vpc_flow_log keeps exactly one flow log for a log group.

EC2 cannot change some settings of a flow log. To change such a setting, the module replaces the flow log. When AWS
refuses a request, the module reports this.
"""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Account, RunModule, apply_thrice
from .stubs import stubbed

GROUP = "/trading/demo/flow"
ROLE = "arn:aws:iam::123456789012:role/lowlatency-trading/demo/trading-demo-flow"


def logs(account: Account) -> list[tuple[str, str, str]]:
    """Return three values for each flow log in the AWS account: its id, its VPC and its role."""
    found = account("ec2").describe_flow_logs()["FlowLogs"]
    return [(log["FlowLogId"], log["ResourceId"], log["DeliverLogsPermissionArn"]) for log in found]


def test_a_flow_log_is_made_replaced_and_deleted(account: Account, run_module: RunModule) -> None:
    def apply(**arguments: object) -> dict[str, Any]:
        return apply_thrice(run_module, lambda: logs(account), "vpc_flow_log", log_group=GROUP, **arguments)

    account("logs").create_log_group(logGroupName=GROUP)
    vpcs = [account("ec2").create_vpc(CidrBlock=cidr)["Vpc"]["VpcId"] for cidr in ("10.77.0.0/16", "10.78.0.0/16")]
    tags = {"Project": "lowlatency-trading", "Environment": "demo"}
    earlier = ""
    for vpc_id, role in ((vpcs[0], ROLE), (vpcs[1], ROLE), (vpcs[1], ROLE + "-2")):
        made = apply(vpc_id=vpc_id, role_arn=role, tags=tags)
        assert logs(account) == [(made["flow_log_id"], vpc_id, role)]
        assert made["flow_log_id"] != earlier
        earlier = made["flow_log_id"]
    (log,) = account("ec2").describe_flow_logs()["FlowLogs"]
    assert (log["TrafficType"], log["LogGroupName"]) == ("ALL", GROUP)
    assert {tag["Key"]: tag["Value"] for tag in log["Tags"]} == tags
    assert "flow_log_id" not in apply(state="absent")
    assert logs(account) == []


def test_what_aws_refuses_in_a_successful_answer_is_an_error(
    monkeypatch: pytest.MonkeyPatch, run_module: RunModule
) -> None:
    refused = {"ResourceId": "vpc-1", "Error": {"Code": "FlowLogsLimitExceeded", "Message": "no more"}}
    with stubbed(monkeypatch, "ec2") as stubs:
        stubs["ec2"].add_response("describe_flow_logs", {"FlowLogs": []})
        stubs["ec2"].add_response("create_flow_logs", {"FlowLogIds": [], "Unsuccessful": [refused]})
        report = run_module("vpc_flow_log", region="us-east-1", log_group=GROUP, vpc_id="vpc-1", role_arn=ROLE)
    said = f"Cannot change the flow log of {GROUP} in region us-east-1: no more (FlowLogsLimitExceeded)"
    assert (report["failed"], report["msg"]) == (True, said)


@pytest.mark.parametrize("lacking", ["vpc_id", "role_arn"])
def test_a_flow_log_of_nothing_is_refused(account: Account, run_module: RunModule, lacking: str) -> None:
    arguments = {"vpc_id": "vpc-1", "role_arn": ROLE}
    del arguments[lacking]
    report = run_module("vpc_flow_log", region="us-east-1", log_group=GROUP, **arguments)
    assert lacking in report["msg"]
    assert logs(account) == []
