"""`trading-telemetry publish`: looks at the engine's state and hands each period to CloudWatch, in its own process."""

import logging
import signal
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any
from urllib.request import ProxyHandler, Request, build_opener

from trading_engine.host.notify import notify
from trading_engine.settings.tables import ConfigError

from trading_telemetry.cloudwatch import NAMESPACE, UNITS, Datum, Period
from trading_telemetry.config import CloudWatchConfig, Config
from trading_telemetry.observer import Observer

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_S = 5.0
KEPT_PERIODS = 60
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
METADATA_URL = "http://169.254.169.254/latest"

logger = logging.getLogger("trading-publish")


class Outbox:
    """Periods that wait to be sent: bounded, oldest first; what does not fit any more is counted and said."""

    def __init__(self, put: "Callable[[list[Datum]], None]") -> None:
        self._put = put
        self._waiting: deque[list[Datum]] = deque()
        self._pause_s = 0.0
        self._retry_at_s = 0.0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, data: list[Datum]) -> None:
        if len(self._waiting) == KEPT_PERIODS:
            self._waiting.popleft()
            self.dropped += 1
            logger.warning("CloudWatch still unreachable: %d periods dropped, %d wait", self.dropped, KEPT_PERIODS)
        self._waiting.append(data)

    def send(self, now_s: float) -> None:
        """Send what waits, unless a failure asked for a pause that is not over; never raises for CloudWatch's sake."""
        if now_s < self._retry_at_s:
            return
        while self._waiting:
            try:
                self._put(self._waiting[0])
            except Exception as error:  # whatever boto3 raises: throttling, outage, credentials, a proxy's answer
                self._pause_s = min(max(2 * self._pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
                self._retry_at_s = now_s + self._pause_s
                logger.warning("%d periods wait, next try in %.0f s: %s", len(self), self._pause_s, error)
                return
            self._waiting.popleft()
            self._pause_s = 0.0


def publish(config: Config) -> None:
    """Run until SIGTERM. Raises ConfigError when boto3, the region or the instance's id cannot be had."""
    settings = config.cloudwatch
    client, instance_id = _client(settings)

    def put(data: list[Datum]) -> None:
        client.put_metric_data(Namespace=NAMESPACE, MetricData=data)

    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    logger.info(
        "%d metrics with the one dimension InstanceId=%s: %d custom metrics, one call every %d s",
        len(UNITS), instance_id, len(UNITS), settings.period_s,
    )  # fmt: skip
    notify("READY=1")
    observer, outbox, period = Observer(config.state_path), Outbox(put), Period()
    observer.sample()
    due_s = _next_due_s(time.time(), settings.period_s)
    while not stopping.wait(max(min(LOOK_S, due_s - time.time()), 0.0)):
        observation = observer.sample()
        if (window := observer.newest_window()) is not None:
            period.add(window)
        if time.time() >= due_s:
            outbox.add(period.data(observation, settings.disk_path, due_s, instance_id, settings.period_s))
            period, due_s = Period(), _next_due_s(time.time(), settings.period_s)
        outbox.send(time.monotonic())
        notify("WATCHDOG=1")


def _next_due_s(now_s: float, period_s: int) -> float:
    """The next multiple of the period, so that all hosts' periods are the same."""
    return (now_s // period_s + 1) * period_s


def _client(settings: CloudWatchConfig) -> tuple[Any, str]:
    try:
        import boto3
        from botocore.config import Config as BotoConfig
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise ConfigError("publishing needs boto3: install trading-engine[cloudwatch]") from error
    region = settings.region or _metadata("placement/region")
    instance_id = settings.instance_id or _metadata("instance-id")
    options = BotoConfig(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "max_attempts": 3})
    try:
        return boto3.client("cloudwatch", region_name=region, config=options), instance_id
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(f"[cloudwatch] {error}") from error


def _metadata(name: str) -> str:
    """Ask EC2's instance metadata service, version 2."""
    direct = build_opener(
        ProxyHandler({})
    )  # the address is this machine's own affair, whatever proxy its variables name
    lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    try:
        with direct.open(Request(f"{METADATA_URL}/api/token", headers=lifetime, method="PUT"), timeout=2) as answer:  # noqa: S310
            token = {"X-aws-ec2-metadata-token": answer.read().decode("ascii")}
        with direct.open(Request(f"{METADATA_URL}/meta-data/{name}", headers=token), timeout=2) as answer:  # noqa: S310
            text: str = answer.read().decode("ascii")
            return text
    except OSError as error:
        raise ConfigError(
            f"[cloudwatch] no instance metadata ({error}): not on EC2? Then write region and instance_id"
        ) from error
