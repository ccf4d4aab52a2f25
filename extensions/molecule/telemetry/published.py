"""Wait until CloudWatch has at least ORDERS orders of an instance, and print its statistics of their latency.

published.py INSTANCE ORDERS    endpoint, region and credentials come from the environment
"""

from __future__ import annotations

import datetime
import json
import sys
import time
from typing import Any

import boto3

WAIT_S = 120.0
POLL_S = 2.0
STATISTICS = ("SampleCount", "p99", "Maximum")


def statistics(cloudwatch: Any, instance: str) -> dict[str, float]:
    now = datetime.datetime.now(datetime.UTC)
    metric = {
        "Namespace": "LowLatencyTrading",
        "MetricName": "OrderLatency",
        "Dimensions": [{"Name": "InstanceId", "Value": instance}],
    }
    answer = cloudwatch.get_metric_data(
        MetricDataQueries=[
            {"Id": stat.lower(), "MetricStat": {"Metric": metric, "Period": 3600, "Stat": stat}} for stat in STATISTICS
        ],
        StartTime=now - datetime.timedelta(minutes=30),
        EndTime=now + datetime.timedelta(minutes=10),
    )
    return {result["Id"]: sum(result["Values"]) for result in answer["MetricDataResults"]}


def main() -> int:
    instance, orders = sys.argv[1], int(sys.argv[2])
    cloudwatch = boto3.client("cloudwatch")
    deadline_s = time.monotonic() + WAIT_S
    while (found := statistics(cloudwatch, instance))["samplecount"] < orders:
        if time.monotonic() > deadline_s:
            print(f"{orders} orders were sent, CloudWatch has {found}", file=sys.stderr)
            return 1
        time.sleep(POLL_S)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
