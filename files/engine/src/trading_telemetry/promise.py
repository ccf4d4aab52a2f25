"""The figures that decide on the latency promise: clients' orders or the canary's, whichever are worse."""

from collections.abc import Iterator

from trading_telemetry.config import Targets
from trading_telemetry.observer import Window

CLIENTS, CANARY = "receive_to_reply", "canary"
SOURCES = (CLIENTS, CANARY)
PROMISED = ("avg", "p95", "p99")

Figures = dict[str, float]


def figures_us(window: Window | None, at_least: int = 1, sources: tuple[str, ...] = SOURCES) -> dict[str, Figures]:
    """Return the window's figures by source, for each source with at least `at_least` measurements."""
    if window is None:
        return {}
    latencies = {source: window.latency(source) for source in sources}
    return {source: latency.figures_us for source, latency in latencies.items() if latency.count >= at_least}


def worst_us(*by_source: dict[str, Figures]) -> Figures:
    """Return each figure of the source that is worst in it; empty without a source."""
    measured = [figures for found in by_source for figures in found.values()]
    return {name: max(figures[name] for figures in measured) for name in (measured[0] if measured else ())}


def target_us(targets: Targets, statistic: str) -> float:
    """Return the target of a statistic, which is one of PROMISED."""
    target: float = getattr(targets, f"{statistic}_us")
    return target


def broken(figures: Figures, targets: Targets) -> Iterator[str]:
    """Yield a text for each figure that is not within its target."""
    for name in PROMISED:
        if figures[name] >= target_us(targets, name):
            yield f"{name} is {figures[name]:.0f} µs, target {target_us(targets, name):g} µs"
