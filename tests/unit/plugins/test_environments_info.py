"""The module environments_info finds the environments of an AWS account.

The name of any resource that still exists shows that there is an environment.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import deployment

LISTS = (
    *("Tags", "Vpcs", "Subnets", "InternetGateways", "RouteTables", "SecurityGroups", "VpcEndpoints", "Volumes"),
    *("LaunchTemplates", "Reservations", "Snapshots", "KeyPairs", "PlacementGroups", "FlowLogs", "Addresses"),
    *("Roles", "InstanceProfiles", "Policies", "logGroups", "DashboardEntries", "Topics", "Buckets"),
)


class Account:
    """A fake boto3 client for any service. An answer is empty unless `found` has one for the operation."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.found = found

    def __getattr__(self, operation: str) -> Any:
        return lambda **_: self.answer(operation)

    def answer(self, operation: str) -> dict[str, Any]:
        return {**{name: [] for name in LISTS}, **self.found.get(operation, {})}

    def get_paginator(self, operation: str) -> Any:
        return SimpleNamespace(paginate=lambda **_: [self.answer(operation)])


@pytest.mark.parametrize(
    ("found", "names"),
    [
        (
            {"describe_log_groups": {"logGroups": [{"arn": "a", "logGroupName": "/trading/accept-1/host"}]}},
            ["accept-1"],
        ),
        ({"list_topics": {"Topics": [{"TopicArn": "arn:aws:sns:us-east-1:1:trading-accept-1-alarms"}]}}, ["accept-1"]),
        ({"list_buckets": {"Buckets": [{"Name": "trading-accept-1-123456789012-us-east-1"}]}}, ["accept-1"]),
        (
            {"list_roles": {"Roles": [{"Path": "/lowlatency-trading/accept-1/", "Arn": "a", "RoleName": "b"}]}},
            ["accept-1"],
        ),
        (
            {"describe_alarms": {"MetricAlarms": [{"AlarmName": "trading-accept-1/h/cpu", "AlarmArn": "a"}]}},
            ["accept-1"],
        ),
        # A terminated instance still has its tags for an hour. It does not count as a resource.
        ({"describe_tags": {"Tags": [{"Value": "accept-1"}]}}, []),
        ({"list_topics": {"Topics": [{"TopicArn": "arn:aws:sns:us-east-1:1:trading-production-alarms"}]}}, []),
    ],
)
def test_environments_are_found_by_the_beginning_of_their_names(found: dict[str, Any], names: list[str]) -> None:
    client = Account(found)
    assert list(deployment.environments(lambda _: client, "accept-")) == names
