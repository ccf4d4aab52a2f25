"""One engine in telemetry: its observer, its history, and the clients that follow it."""

from trading_telemetry.config import Partition, Targets
from trading_telemetry.health import Check, Status
from trading_telemetry.history import History
from trading_telemetry.host import HostSample
from trading_telemetry.latest import Document, engine_document, slo_document, window_document
from trading_telemetry.observer import WINDOWS_S, Observation, Observer
from trading_telemetry.stream import Broadcast


class Watched:
    """The state that a host's engines do not share. The name is "" where the host has no partitions."""

    def __init__(self, partition: Partition, targets: Targets | None) -> None:
        self.name = partition.name
        self.observer = Observer(partition.path)
        self.history = History(targets)
        self.broadcast = Broadcast()
        self.status = Status.FAILING
        """Of a partition, in the last full second."""
        self._targets = targets
        self._slow: Document = {}

    def add(self, observation: Observation, host: HostSample, earlier: HostSample) -> None:
        """Add this second to the history; `observation` is its sample."""
        self.history.add(observation, self.observer, host, earlier)
        self._slow = {
            "windows": {f"{seconds}s": window_document(self.observer.window(seconds)) for seconds in WINDOWS_S},
            "slo": slo_document(self.observer.window(60), self._targets, self.history),
        }

    def latest(self, observation: Observation, checks: list[Check], host: Document) -> Document:
        """Return the counters, checks and age as observed; windows, promise and host are of the last full second."""
        document = engine_document(observation, checks)
        return {**document, **self._slow, "host": host, "second": self.history.newest()}
