"""What telemetry keeps for each engine of the host: an observer, a history, and the newest document for /stream."""

from trading_telemetry.config import Partition, Targets
from trading_telemetry.health import Check, Status
from trading_telemetry.history import History
from trading_telemetry.host import HostSample
from trading_telemetry.latest import Document, engine_document, slo_document, window_document
from trading_telemetry.observer import WINDOWS_S, Observation, Observer
from trading_telemetry.stream import Broadcast


class Watched:
    """What telemetry keeps for one engine: an observer, a history, and the newest document for /stream.

    The name is "" if the host has no partitions.
    """

    def __init__(self, partition: Partition, targets: Targets | None) -> None:
        self.name = partition.name
        self.observer = Observer(partition.path)
        self.history = History(targets)
        self.broadcast = Broadcast()
        self.status = Status.FAILING
        """The partition's status at the last sample. It stays FAILING on a host without partitions, and is not used."""
        self._targets = targets
        self._slow: Document = {}

    def add(self, observation: Observation, host: HostSample, earlier: HostSample) -> None:
        """Add a sample to the history: the engine's state, and the host's values since the sample `earlier`."""
        self.history.add(observation, self.observer, host, earlier)
        self._slow = {
            "windows": {f"{seconds}s": window_document(self.observer.window(seconds)) for seconds in WINDOWS_S},
            "slo": slo_document(self.observer.window(60), self._targets, self.history),
        }

    def latest(self, observation: Observation, checks: list[Check], host: Document) -> Document:
        """Return the document of /latest for this engine.

        Counters, checks and age are those of `observation`. Windows and targets are those of the last sample.
        """
        document = engine_document(observation, checks)
        return {**document, **self._slow, "host": host, "second": self.history.newest()}
