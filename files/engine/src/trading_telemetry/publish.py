"""The command `trading-telemetry publish`, which sends metrics to CloudWatch.

The command runs as a process of its own. It reads the engine's state every few seconds and sends the figures of each
period, such as a minute.
"""

import logging
import signal
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any
from urllib.request import ProxyHandler, Request, build_opener

from trading_engine.host.notify import notify
from trading_engine.settings.tables import ConfigError

from trading_telemetry.cloudwatch import NAMESPACE, UNITS, Datum, Period, data_of
from trading_telemetry.config import CloudWatchConfig, Config
from trading_telemetry.observer import Observer

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_S = 5.0
KEPT_PERIODS = 60
NEVER_ACCEPTED = frozenset(
    f"{code}{ending}"
    for code in ("InvalidFormat", "InvalidParameterCombination", "InvalidParameterValue", "MissingParameter",
                 "MissingRequiredParameter", "RequestEntityTooLarge", "SerializationError", "Validation")
    for ending in ("", "Error", "Exception", "Fault")
)  # fmt: skip
"""Error codes of CloudWatch that mean that the data themselves are wrong, so that sending them again is useless."""
SHORTEST_S = 0.5
"""No period is shorter than this time."""
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
METADATA_URL = "http://169.254.169.254/latest"

logger = logging.getLogger("trading-publish")


class UnsentPeriods:
    """The periods whose figures wait to be sent to CloudWatch, oldest first.

    At most KEPT_PERIODS wait. When there would be more, the oldest one is dropped. Periods whose data CloudWatch
    rejects as wrong are dropped as well.
    """

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
            self._drop("CloudWatch is still unreachable")
        self._waiting.append(data)

    def send(self, now_s: float) -> None:
        """Send the waiting periods, oldest first, until one cannot be sent.

        After a failure nothing is sent for a pause, which is longer after each further failure. Errors of CloudWatch
        are logged, not raised. `now_s` is monotonic time.
        """
        if now_s < self._retry_at_s:
            return
        while self._waiting:
            try:
                self._put(self._waiting[0])
            except Exception as error:  # whatever boto3 raises: throttling, outage, credentials, a proxy's answer
                if _is_for_ever(error):
                    self._drop(str(error))
                    continue
                self._pause_s = min(max(2 * self._pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
                self._retry_at_s = now_s + self._pause_s
                logger.warning("%d periods wait, next try in %.0f s: %s", len(self), self._pause_s, error)
                return
            self._waiting.popleft()
            self._pause_s = 0.0

    def _drop(self, reason: str) -> None:
        self._waiting.popleft()
        self.dropped += 1
        logger.warning("%d periods dropped, %d wait: %s", self.dropped, len(self), reason)


def _is_for_ever(error: Exception) -> bool:
    """Return whether the error is permanent: CloudWatch or boto3 will refuse the same data each time."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return response.get("Error", {}).get("Code") in NEVER_ACCEPTED
    return type(error).__name__ == "ParamValidationError"


class Schedule:
    """The schedule of periods. A period ends at a multiple of its length, such as a full minute.

    So it ends at the same time on all hosts. The time that is left is measured by the monotonic clock. So a step of the
    wall clock can only shorten one period.
    """

    def __init__(self, period_s: int) -> None:
        self._period_s = period_s
        self._due_s = 0.0
        self.begin()

    def begin(self) -> None:
        """Begin a period now. The period ends at the next multiple of its length.

        If less than SHORTEST_S seconds are left until then, it ends at the multiple after that.
        """
        left_s = self._period_s - time.time() % self._period_s
        self._due_s = time.monotonic() + left_s + (self._period_s if left_s < SHORTEST_S else 0)

    @property
    def left_s(self) -> float:
        """The time in seconds until the period's end; 0 when the period has ended."""
        return max(self._due_s - time.monotonic(), 0.0)

    def ended_s(self) -> float:
        """Return the Unix time in seconds at which the period ended.

        This is the multiple of the period's length that is nearest to the wall clock's present time.
        """
        return round(time.time() / self._period_s) * float(self._period_s)


def publish(config: Config) -> None:
    """Send metrics until SIGTERM.

    Raises ConfigError when boto3 is not installed, or when the region or the instance's id cannot be found out.
    """
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
    observers = [Observer(each.path, looks=2) for each in config.partitions]
    unsent, periods = UnsentPeriods(put), [Period() for _ in observers]
    for observer in observers:
        observer.sample()
    schedule = Schedule(settings.period_s)
    while not stopping.wait(min(LOOK_S, schedule.left_s)):
        observations = [observer.sample() for observer in observers]
        for observer, period in zip(observers, periods, strict=True):
            if (window := observer.newest_window()) is not None:
                period.add(window)
        if not schedule.left_s:
            engines = list(zip(periods, observations, strict=True))
            time_s = schedule.ended_s()
            unsent.add(data_of(engines, settings.disk_path, time_s, instance_id, settings.period_s))
            periods = [Period() for _ in observers]
            schedule.begin()
        unsent.send(time.monotonic())
        notify("WATCHDOG=1")


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
    """Return a value of EC2's instance metadata service, version 2. Raises ConfigError when the service fails."""
    # The service is reachable only from this machine, so no proxy of the environment's variables is used.
    direct = build_opener(ProxyHandler({}))
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
