"""The report of a run as an HTML file with tables and two drawings in SVG. The file refers to no other file."""

import html
import math
from collections.abc import Iterable, Sequence
from typing import Any

from trading_bench.disturbance import SLICE_NS
from trading_bench.summary import Summary, said_of_slices

WIDTH, HEIGHT, MARGIN = 760, 260, 56

STYLE = """
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .8rem;text-align:right;border-bottom:1px solid #8884}
td:first-child,th:first-child{text-align:left}.interrupted{border:2px solid #c33;padding:.5rem 1rem}
"""
DRAWING_STYLE = """
svg{max-width:100%;height:auto}svg text{font-size:11px;fill:currentColor}svg line{stroke:currentColor;opacity:.15}
polyline{fill:none;stroke-width:1.8}.p50{stroke:#2a7de1}.p99{stroke:#e08a1e}.max{stroke:#c33;stroke-dasharray:4 3}
.shaded{fill:#8886}
"""

Points = list[tuple[float, float]]


def render(summary: Summary, title: str) -> str:
    """Return the report of a run as a complete HTML document."""
    return "".join(
        (
            '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
            f"<title>{html.escape(title)}</title><style>{STYLE}</style><h1>{html.escape(title)}</h1>",
            '<p class="interrupted">Interrupted: these are the figures of a part of the run.</p>'
            if summary["interrupted"]
            else "",
            _latency_table(summary),
            _said(summary["disturbance"]),
            _facts(summary),
            drawings(summary),
            "</html>\n",
        )
    )


def drawings(summary: Summary) -> str:
    """Return the report's two drawings with their headings as HTML.

    The first shows the latency by percentile. The second shows the latency over time, with the disturbed slices shaded.
    """
    curve: Points = [(_nines(percent), value) for percent, value in summary["latency_curve_us"]]
    ticks = [(_nines(percent), f"{percent:g} %") for percent in (0.0, 90.0, 99.0, 99.9, 99.99, 99.999)]
    slices = summary["latency_slices"]
    names = ("p50", "p99", "max")
    over_time = {
        name: [(part["start_s"], part[f"{name}_us"]) for part in slices if f"{name}_us" in part] for name in names
    }
    seconds = [(second, f"{second:g} s") for second in _seconds(slices)]
    shaded = [part["start_s"] for part in slices if part["set_aside"]]
    return "".join(
        (
            f"<style>{DRAWING_STYLE}</style>",
            "<h2>Latency by percentile, from the intended time</h2>",
            _chart({"p99": curve}, ticks, legend=False),
            "<h2>Latency in each 100 ms</h2>",
            "<p>Shaded: the machine was taken away or slowed, or had been right before.</p>" if shaded else "",
            _chart(over_time, seconds, legend=True, shaded=shaded),
        )
    )


def _said(disturbance: dict[str, Any]) -> str:
    lines = [said_of_slices(disturbance)] if disturbance["set_aside"] else []
    return "".join(f"<p>{html.escape(line)}</p>" for line in [*lines, *disturbance["remarks"]])


def _nines(percent: float) -> float:
    """Return the position of a percentile on the axis: 90 % is at 1, 99 % at 2, 99.9 % at 3, …, and 100 % at 6."""
    return min(-math.log10(max(1 - percent / 100, 1e-6)), 6.0)


def _seconds(slices: Sequence[dict[str, Any]]) -> Iterable[float]:
    last = math.ceil(slices[-1]["start_s"]) if slices else 0
    return range(0, last + 1, max(last // 8, 1))


def _latency_table(summary: Summary) -> str:
    rows = (
        ("from the intended time", summary["latency_corrected_us"]),
        ("from the actual send", summary["latency_raw_us"]),
        ("generator's own lateness", summary["lateness_us"]),
        *([("feed, from the reply", summary["feed_us"])] if summary["feed_us"] else []),
        *(
            [("undisturbed, from the intended time", summary["undisturbed"]["latency_corrected_us"])]
            if summary["disturbance"]["set_aside"]
            else []
        ),
    )
    head = "".join(f"<th>{name}</th>" for name in ("µs", "avg", "p50", "p95", "p99", "p99.9", "max"))
    body = "".join(
        f"<tr><td>{label}</td>" + "".join(f"<td>{value:,.1f}</td>" for value in values.values()) + "</tr>"
        for label, values in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _facts(summary: Summary) -> str:
    facts = {
        "orders offered a second": f"{summary['offered_rate_per_s']:,.0f}",
        "orders answered a second": f"{summary['throughput_per_s']:,.1f}",
        "orders sent": f"{summary['orders_sent']:,}",
        "orders answered": f"{summary['orders_answered']:,}",
        "rejected": f"{summary['rejects_total']:,}",
        "generator's CPU seconds": f"{summary['generator']['cpu_s']:.1f} in {summary['generator']['wall_s']:.1f}",
        "generator waits by": summary["generator"]["mode"],
        **{f"rejected with reason {reason}": f"{count:,}" for reason, count in summary["rejects"].items()},
        **{name: f"{count:,}" for name, count in summary["errors"].items()},
    }
    return (
        "<table>"
        + "".join(f"<tr><td>{html.escape(name)}</td><td>{value}</td></tr>" for name, value in facts.items())
        + "</table>"
    )


def _chart(
    lines: dict[str, Points], ticks: Iterable[tuple[float, str]], *, legend: bool, shaded: Sequence[float] = ()
) -> str:
    """Return a drawing of lines as SVG, with a linear x axis and a logarithmic y axis in µs.

    `ticks` are positions and labels on the x axis. `shaded` are the starts of the slices to shade, in seconds.
    """
    points = [point for line in lines.values() for point in line]
    if not points:
        return "<p>No order was answered.</p>"
    right = max(max(x for x, _ in points), 1e-9)
    bottom = math.floor(math.log10(max(min(y for _, y in points), 1.0)))
    top = max(math.ceil(math.log10(max(max(y for _, y in points), 1.0))), bottom + 1)

    def across(x: float) -> float:
        return MARGIN + (WIDTH - 2 * MARGIN) * x / right

    def down(y: float) -> float:
        return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (math.log10(max(y, 1.0)) - bottom) / (top - bottom)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">']
    width = across(SLICE_NS / 1e9) - across(0)
    parts += [
        f'<rect class="shaded" x="{across(x):.1f}" y="{MARGIN}" width="{width:.1f}" height="{HEIGHT - 2 * MARGIN}"/>'
        for x in shaded
    ]
    for power in range(bottom, top + 1):
        y = down(10.0**power)
        parts.append(f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{MARGIN - 6}" y="{y + 4:.1f}" text-anchor="end">{10**power:,}</text>')
    parts.append(f'<text x="{MARGIN - 6}" y="{MARGIN - 18}" text-anchor="end">µs</text>')
    for x, label in ticks:
        if x <= right:
            parts.append(f'<text x="{across(x):.1f}" y="{HEIGHT - MARGIN + 18}" text-anchor="middle">{label}</text>')
    for position, (name, line) in enumerate(lines.items()):
        path = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in line)
        parts.append(f'<polyline class="{name}" points="{path}"/>')
        if legend:
            x = MARGIN + 8 + 70 * position
            parts.append(
                f'<polyline class="{name}" points="{x},14 {x + 20},14"/><text x="{x + 25}" y="18">{name}</text>'
            )
    return "".join(parts) + "</svg>"
