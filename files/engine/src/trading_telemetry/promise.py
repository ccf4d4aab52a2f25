"""The figures that show whether the engine keeps its targets for latency.

There are two sources: the orders of clients, and those of the canary. The canary is a client inside the engine that
sends ten small orders a second. Each figure is computed for both sources, and the worse result counts.
"""

from collections.abc import Iterator

from trading_telemetry.config import Targets
from trading_telemetry.observer import Window

CLIENTS, CANARY = "receive_to_reply", "canary"
SOURCES = (CLIENTS, CANARY)
PROMISED = ("avg", "p95", "p99")

Figures = dict[str, float]


def figures_us(window: Window | None, at_least: int = 1, sources: tuple[str, ...] = SOURCES) -> dict[str, Figures]:
    """Return a dictionary: source of orders → the figures avg, p50, p95, p99 and p999 of a window, in µs.

    Only sources with at least `at_least` measurements are in the result.
    """
    if window is None:
        return {}
    latencies = {source: window.latency(source) for source in sources}
    return {source: latency.figures_us for source, latency in latencies.items() if latency.count >= at_least}


def worst_us(*by_source: dict[str, Figures]) -> Figures:
    """Return a dictionary: figure → its highest value over all sources, in µs. Without a source it is empty."""
    measured = [figures for found in by_source for figures in found.values()]
    return {name: max(figures[name] for figures in measured) for name in (measured[0] if measured else ())}


def target_us(targets: Targets, statistic: str) -> float:
    """Return the target in µs of a figure, which is one of PROMISED."""
    target: float = getattr(targets, f"{statistic}_us")
    return target


def broken(figures: Figures, targets: Targets) -> Iterator[str]:
    """Yield a text for each figure that is not within its target, such as "p99 is 2100 µs, target 2000 µs"."""
    for name in PROMISED:
        if figures[name] >= target_us(targets, name):
            yield f"{name} is {figures[name]:.0f} µs, target {target_us(targets, name):g} µs"
