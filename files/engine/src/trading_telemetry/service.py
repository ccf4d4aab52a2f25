"""The state that all requests share: the engines' observers and histories, the samples of the host, and its checks.

The HTTP routes in `app` ask the class Service for the documents that they send.
"""

import asyncio
import json
import logging
import time

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from trading_engine.host.notify import notify, watchdog_interval_ns

from trading_telemetry.backup import Backup, read_backup
from trading_telemetry.certificate import Certificates
from trading_telemetry.clock import READ_S, read_clock
from trading_telemetry.config import Config, load_targets
from trading_telemetry.health import Check, check_all, of_host, overall
from trading_telemetry.host import Tuning, sample_host, tuning
from trading_telemetry.latest import Document, check_documents, host_document
from trading_telemetry.observer import Observation
from trading_telemetry.prometheus import EngineCollector
from trading_telemetry.refusals import refused_packets
from trading_telemetry.watched import Watched

SAMPLE_S = 1.0
Shared = tuple[Tuning | None, Backup | None]

logger = logging.getLogger("trading-telemetry")


class Service:
    """The state of a host's telemetry. Every second it takes a sample of the engines and the host.

    Between two samples, `latest` renews only the values that the engine publishes more often.
    """

    def __init__(self, config: Config) -> None:
        """Read all that is needed and take the first sample. Raises ConfigError for a wrong slo.toml or certificate."""
        self._targets = load_targets(config.slo_path)
        self._partitions = {each.name: Watched(each, self._targets) for each in config.partitions}
        self._hosts = [(time.monotonic(), sample_host())]
        self._clock = read_clock()
        self._certificates = Certificates(config.certificate_path, config.watched_certificates)
        self._refused = refused_packets()
        self._host: Document = {}
        self.registry = CollectorRegistry(auto_describe=False)
        observers = {name: each.observer for name, each in self._partitions.items()}
        self.registry.register(EngineCollector(observers, self._targets, lambda: self._clock, self._certificates))
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.sample()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the partitions; () if the host has no partitions."""
        return tuple(name for name in self._partitions if name)

    @property
    def clients(self) -> int:
        """The number of clients that are connected to /stream."""
        return sum(each.broadcast.clients for each in self._partitions.values())

    def partition(self, name: str | None) -> Watched:
        """Return the partition that has this name. For None return the first partition.

        Raises LookupError for an unknown name. Its message lists the known names.
        """
        if name is None:
            return next(iter(self._partitions.values()))
        if name not in self.names:
            known = f"this host has {', '.join(self.names)}" if self.names else "this host has none, so ask without"
            raise LookupError(f"no such partition: {known}")
        return self._partitions[name]

    def latest(self, name: str | None = None) -> Document:
        """Return the document of /latest for the partition `name`. If `name` is None, use the first partition.

        Counters, checks and age are read now. Windows, targets and the host's values are those of the last sample.
        """
        watched = self.partition(name)
        observation = watched.observer.look()
        document = watched.latest(observation, self._checks(watched, observation, _read_what_all_share()), self._host)
        if watched.name:
            statuses = {each.name: each.status for each in self._partitions.values()}
            document |= {"partition": watched.name, "partitions": {**statuses, watched.name: document["status"]}}
        return document

    def health(self, name: str | None = None) -> Document:
        """Return the document of /health: status, age of the engine's publication, and checks.

        With a partition's name, all three are about this partition. With None, the checks are those of all partitions,
        the status is the worst one, and the age the greatest one.
        """
        asked = self._partitions.values() if name is None else [self.partition(name)]
        observations = {each: each.observer.look() for each in asked}
        shared = _read_what_all_share()
        by_partition = {each.name: self._checks(each, seen, shared) for each, seen in observations.items()}
        checks = of_host(by_partition) if name is None else by_partition[name]
        ages_ns = [seen.age_ns for seen in observations.values()]
        known_ns = [age_ns for age_ns in ages_ns if age_ns is not None]
        age_s = max(known_ns) / 1e9 if len(known_ns) == len(ages_ns) else None
        return {"status": overall(checks), "age_s": age_s, "checks": check_documents(checks)}

    def sample(self) -> None:
        """Take the sample of this second.

        Raises OSError when the host's values cannot be read. The engines' states are kept nevertheless.
        """
        observations = {each: each.observer.sample() for each in self._partitions.values()}
        self._hosts = [*self._hosts[-1:], (time.monotonic(), sample_host())]
        self._refused = refused_packets(earlier=self._refused)
        (then_s, earlier), (now_s, host) = self._hosts
        shared = _read_what_all_share() if self.names else (None, None)
        for each, observation in observations.items():
            each.add(observation, host, earlier)
            if each.name:
                each.status = overall(self._checks(each, observation, shared))
        self._host = host_document(host, earlier, max(now_s - then_s, 0.01), self._clock, self._refused)

    def _checks(self, watched: Watched, observation: Observation, shared: Shared) -> list[Check]:
        window = watched.observer.window(60)
        return check_all(observation, window, self._targets, shared[0], self._clock, self._certificates, shared[1])

    async def keep_sampling(self) -> None:
        """Take a sample every second until cancelled, and send the document of /latest to the clients of /stream.

        Each sample also sends the heartbeat that systemd's watchdog expects.
        """
        watched = watchdog_interval_ns() > 0
        next_s = time.monotonic()
        while True:
            next_s = max(next_s + SAMPLE_S, time.monotonic())
            await asyncio.sleep(next_s - time.monotonic())
            try:
                self.sample()
            except OSError as error:  # for example no free file descriptor; then there is no heartbeat either
                logger.warning("no sample of this second: %s", error)
                continue
            for each in self._partitions.values():
                if each.broadcast.clients:
                    document = self.latest(each.name or None)
                    each.broadcast.publish(json.dumps(document, separators=(",", ":")).encode())
            if watched:
                notify("WATCHDOG=1")

    async def keep_reading_what_is_slow(self) -> None:
        """Read the slow sources repeatedly until cancelled: chrony's answer and certificate files.

        They are read in a thread, so that they do not delay requests.
        """
        while True:
            await asyncio.sleep(READ_S)
            self._clock = await asyncio.to_thread(read_clock)
            await asyncio.to_thread(self._certificates.read)

    def close(self) -> None:
        for each in self._partitions.values():
            each.observer.close()


def _read_what_all_share() -> Shared:
    """Return the tuning and the backup of the host. They are the same for all partitions."""
    return tuning(), read_backup()
