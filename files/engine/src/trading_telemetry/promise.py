"""What the latency promise is judged by: clients' orders and the canary's, whichever does worse."""

from collections.abc import Iterator

from trading_telemetry.config import Targets
from trading_telemetry.observer import Window

CLIENTS, CANARY = "receive_to_reply", "canary"
SOURCES = (CLIENTS, CANARY)
PROMISED = ("avg", "p95", "p99")

Figures = dict[str, float]


def figures_us(window: Window | None, at_least: int = 1, sources: tuple[str, ...] = SOURCES) -> dict[str, Figures]:
    """The window's figures by their source, for each of the sources that measured at least so often in it."""
    if window is None:
        return {}
    latencies = {source: window.latency(source) for source in sources}
    return {source: latency.figures_us for source, latency in latencies.items() if latency.count >= at_least}


def worst_us(*by_source: dict[str, Figures]) -> Figures:
    """Each figure of the source that is worst in it; empty without a source."""
    measured = [figures for found in by_source for figures in found.values()]
    return {name: max(figures[name] for figures in measured) for name in (measured[0] if measured else ())}


def target_us(targets: Targets, statistic: str) -> float:
    """`statistic` is one of PROMISED."""
    target: float = getattr(targets, f"{statistic}_us")
    return target


def broken(figures: Figures, targets: Targets) -> Iterator[str]:
    """A text for each figure that is not within its target."""
    for name in PROMISED:
        if figures[name] >= target_us(targets, name):
            yield f"{name} is {figures[name]:.0f} µs, target {target_us(targets, name):g} µs"
