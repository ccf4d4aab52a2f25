"""The module published_info tells whether a host's metrics and log lines reach AWS.

For this it reads the age of the newest metrics and log lines that AWS has.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from .conftest import Account, RunModule

GROUP, INSTANCE = "/trading/demo/host", "i-0123456789abcdef0"
GIVEN = {
    "region": "us-east-1",
    "instance_id": INSTANCE,
    "namespace": "LowLatencyTrading",
    "metrics": ["EngineUp", "JournalSecondsLeft"],
    "log_group": GROUP,
    "wait_seconds": 0,
}


def said(unit: str, text: str, now_ms: int) -> dict[str, Any]:
    return {"unit": unit, "milliseconds": now_ms, "text": text}


def test_samples_have_an_age_and_lines_are_found_or_not(account: Account, run_module: RunModule) -> None:
    moment = datetime.now(UTC) - timedelta(seconds=90)
    dimensions = [{"Name": "InstanceId", "Value": INSTANCE}]
    sample = {"MetricName": "EngineUp", "Dimensions": dimensions, "Timestamp": moment, "Value": 1.0}
    account("cloudwatch").put_metric_data(Namespace="LowLatencyTrading", MetricData=[sample])
    logs, now_ms = account("logs"), int(time.time() * 1000)
    logs.create_log_group(logGroupName=GROUP)
    for unit in ("telemetry", "trading-engine"):
        stream = {"logGroupName": GROUP, "logStreamName": f"{INSTANCE}/{unit}"}
        logs.create_log_stream(**stream)
        logs.put_log_events(**stream, logEvents=[{"timestamp": now_ms, "message": f"listening ({unit})"}])
    lines = [
        said("telemetry", "listening (telemetry)\n", now_ms),
        said("trading-engine", "recovered", now_ms),
        said("trading-feed", "listening", now_ms),
    ]
    report = run_module("published_info", **GIVEN, lines=lines)
    assert report["metrics"]["JournalSecondsLeft"] is None
    assert 0 <= report["metrics"]["EngineUp"] <= 180, "a sample is told by the beginning of its minute"
    assert report["lines"] == {"telemetry": True, "trading-engine": False, "trading-feed": False}


def test_a_line_of_another_time_is_another_line(account: Account, run_module: RunModule) -> None:
    logs, now_ms = account("logs"), int(time.time() * 1000)
    stream = {"logGroupName": GROUP, "logStreamName": f"{INSTANCE}/telemetry"}
    logs.create_log_group(logGroupName=GROUP)
    logs.create_log_stream(**stream)
    logs.put_log_events(**stream, logEvents=[{"timestamp": now_ms - 60_000, "message": "listening"}])
    report = run_module("published_info", **GIVEN, lines=[said("telemetry", "listening", now_ms)])
    assert report["lines"] == {"telemetry": False}
