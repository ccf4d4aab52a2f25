"""What all requests share: the observer, the samples of the host, the history, and the documents made from them."""

import asyncio
import json
import logging
import time

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from trading_engine.host.notify import notify, watchdog_interval_ns

from trading_telemetry.backup import read_backup
from trading_telemetry.certificate import Certificates
from trading_telemetry.clock import READ_S, read_clock
from trading_telemetry.config import Config, load_targets
from trading_telemetry.health import check_all
from trading_telemetry.history import History
from trading_telemetry.host import sample_host, tuning
from trading_telemetry.latest import Document, engine_document, host_document, slo_document, window_document
from trading_telemetry.observer import WINDOWS_S, Observer
from trading_telemetry.prometheus import EngineCollector
from trading_telemetry.refusals import refused_packets
from trading_telemetry.stream import Broadcast

SAMPLE_S = 1.0

logger = logging.getLogger("trading-telemetry")


class Service:
    """Looks once a second; between two looks /latest renews only what it can know better."""

    def __init__(self, config: Config) -> None:
        """Raises ConfigError for a wrong slo.toml or certificate."""
        self._targets = load_targets(config.slo_path)
        self._observer = Observer(config.state_path)
        self._hosts = [(time.monotonic(), sample_host())]
        self._clock = read_clock()
        self._certificates = Certificates(config.certificate_path, config.watched_certificates)
        self._refused = refused_packets()
        self._slow: Document = {}
        self.history = History(self._targets)
        self.broadcast = Broadcast()
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(EngineCollector(self._observer, self._targets, lambda: self._clock, self._certificates))
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.sample()

    def latest(self) -> Document:
        """Counters, checks and age of this moment; windows, promise and host of the last full second."""
        observation = self._observer.look()
        window = self._observer.window(60)
        checks = check_all(observation, window, self._targets, tuning(), self._clock, self._certificates, read_backup())
        return {**engine_document(observation, checks), **self._slow}

    def sample(self) -> None:
        observation = self._observer.sample()
        self._hosts = [*self._hosts[-1:], (time.monotonic(), sample_host())]
        self._refused = refused_packets(earlier=self._refused)
        (then_s, earlier), (now_s, host) = self._hosts
        self.history.add(observation, self._observer, host, earlier)
        self._slow = {
            "windows": {f"{seconds}s": window_document(self._observer.window(seconds)) for seconds in WINDOWS_S},
            "slo": slo_document(self._observer.window(60), self._targets, self.history),
            "host": host_document(host, earlier, max(now_s - then_s, 0.01), self._clock, self._refused),
            "second": self.history.newest(),
        }

    async def keep_sampling(self) -> None:
        """Once a second until cancelled; also the heartbeat for systemd's watchdog."""
        watched = watchdog_interval_ns() > 0
        next_s = time.monotonic()
        while True:
            next_s = max(next_s + SAMPLE_S, time.monotonic())
            await asyncio.sleep(next_s - time.monotonic())
            try:
                self.sample()
            except OSError as error:  # out of descriptors, for example; the watchdog hears nothing while that lasts
                logger.warning("no sample of this second: %s", error)
                continue
            if self.broadcast.clients:
                self.broadcast.publish(json.dumps(self.latest(), separators=(",", ":")).encode())
            if watched:
                notify("WATCHDOG=1")

    async def keep_reading_what_is_slow(self) -> None:
        """Until cancelled, and in a thread: chrony may take its time to answer, and so may a disk."""
        while True:
            await asyncio.sleep(READ_S)
            self._clock = await asyncio.to_thread(read_clock)
            await asyncio.to_thread(self._certificates.read)

    def close(self) -> None:
        self._observer.close()
