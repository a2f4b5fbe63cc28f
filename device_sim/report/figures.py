"""The plots of a report, as the JSON that plotly.js draws.

A colour is a name such as `@p99` or `@connected`; the page puts in the one of its theme.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from device_sim.histogram import Histogram
from device_sim.report.axis import Axis
from device_sim.summary import Measured, Snapshot, Summary

Trace = dict[str, Any]

CURVE_POINTS: Final = 200
CURVE_TICKS: Final = (0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)
SERIES_COLORS: Final = 8
# More reasons than this are drawn as one.
MOST_REASONS: Final = 7
FEW_POINTS: Final = 40


@dataclass(frozen=True, slots=True)
class Figure:
    """One plot: where it goes on the page (`key`), what it is called, and what plotly draws."""

    key: str
    title: str
    traces: Sequence[Trace]
    layout: Mapping[str, Any]

    @property
    def members(self) -> dict[str, Any]:
        """Give what the page's script reads."""
        return {"key": self.key, "data": list(self.traces), "layout": dict(self.layout)}


def latency_figures(summary: Summary, axis: Axis) -> tuple[Figure, ...]:
    """Plot p50, p95 and p99 over time, a small plot for each thing that was timed."""
    return tuple(
        _latency_figure(key, measured, axis) for key, measured in timed(summary.snapshot) if _points(axis, key)
    )


def timed(snapshot: Snapshot) -> list[tuple[str, Measured]]:
    """List what was timed, by its name on the timeline: totals, the phases in their order, then messages."""
    groups = (("total", snapshot.totals), ("phase", snapshot.phases), ("message", snapshot.messages))
    return [
        (f"{group}.{name}", measured)
        for group, series in groups
        for name, measured in series.items()
        if measured.histogram.count
    ]


def rate_figures(summary: Summary, axis: Axis) -> tuple[Figure, ...]:
    """Plot onboardings a second and messages a second."""
    onboardings = [each.latencies.get("total.onboarding", Histogram()).count for each in axis.moments]
    kinds = list(summary.snapshot.messages)
    messages = [
        _rate([each.messages.get(kind, 0) for each in axis.moments], kind, f"@c{number}", axis)
        for number, kind in enumerate(kinds)
    ]
    figures = []
    if any(onboardings):
        line = _rate(onboardings, "onboarded", "@c0", axis)
        figures.append(_over_time("rate-onboarded", "Devices onboarded per second", [line], axis, "/s"))
    if messages:
        figures.append(_over_time("rate-messages", "Messages per second", messages, axis, "/s"))
    return tuple(figures)


def state_figure(summary: Summary, axis: Axis) -> Figure:
    """Plot how many devices were in each state, stacked."""
    start, states = [0.0], [each.states for each in axis.moments]
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": state,
            "x": start + axis.ends,
            "y": [states[0].get(state, 0) if states else 0, *(each.get(state, 0) for each in states)],
            "stackgroup": "devices",
            "line": {"width": 0.5, "color": f"@{state}"},
            "fillcolor": f"@{state}",
            "hovertemplate": f"%{{y}} {state}<extra></extra>",
        }
        for state in summary.snapshot.states
        if any(each.get(state) for each in states)
    ]
    return _over_time("states", "Devices by state", traces, axis, "")


def error_figure(summary: Summary, axis: Axis) -> Figure | None:
    """Plot failures by reason, stacked; None when there were none."""
    totals: dict[str, int] = {}
    for each in summary.snapshot.errors:
        totals[each.reason] = totals.get(each.reason, 0) + each.count
    if not totals:
        return None
    ranked = sorted(totals, key=lambda reason: -totals[reason])
    shown, rest = ranked[:MOST_REASONS], ranked[MOST_REASONS:]
    traces = [_bars(axis, reason, [reason], f"@c{number}") for number, reason in enumerate(shown)]
    if rest:
        traces.append(_bars(axis, f"{len(rest)} other reasons", rest, f"@c{MOST_REASONS}"))
    return _over_time("errors", "Failures per second, by reason", traces, axis, "/s", barmode="stack", bargap=0)


def curve_figure(summary: Summary) -> Figure | None:
    """Plot the latency below which each share of the devices stayed, out to the last one; None without any."""
    series = timed(summary.snapshot)
    if not series:
        return None
    traces = [_curve(number, measured) for number, (_, measured) in enumerate(series)]
    most = max(measured.histogram.count for _, measured in series)
    ticks = [each for each in CURVE_TICKS if 1 / (1 - each) <= 2 * most]
    layout = {
        "xaxis": {
            "type": "log",
            "tickvals": [round(1 / (1 - each), 6) for each in ticks],
            "ticktext": [f"{each * 100:.6g} %" for each in ticks],
        },
        "yaxis": {"type": "log", "ticksuffix": "s", "tickformat": "~s", "dtick": 1},
        "hovermode": "closest",
    }
    return Figure("curve", "Latency within which a share of the measurements stayed", traces, layout)


def _latency_figure(key: str, measured: Measured, axis: Axis) -> Figure:
    points = _points(axis, key)
    quantiles = [list(histogram.quantiles((0.5, 0.95, 0.99))) for _, histogram in points]
    times = [time for time, _ in points]
    traces = [
        _line(times, [each[number] for each in quantiles], name, f"@{name}", seconds=True)
        for number, name in reversed(list(enumerate(("p50", "p95", "p99"))))
    ]
    return _over_time(f"latency-{key}", measured.label, traces, axis, "s")


def _points(axis: Axis, key: str) -> list[tuple[float, Histogram]]:
    moments = zip(axis.middles, axis.moments, strict=True)
    return [(time, each.latencies[key]) for time, each in moments if key in each.latencies]


def _line(x: Sequence[float], y: Sequence[float], name: str, color: str, *, seconds: bool = False) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(x) <= FEW_POINTS else "lines",
        "name": name,
        "x": list(x),
        "y": [float(f"{each:.4g}") for each in y],
        "line": {"width": 2, "color": color},
        "marker": {"size": 4, "color": color},
        "hovertemplate": f"{name} %{{y:.3s}}s<extra></extra>" if seconds else f"%{{y:.3~f}} /s {name}<extra></extra>",
    }


def _rate(counts: Sequence[int], name: str, color: str, axis: Axis) -> Trace:
    times, rates = axis.per_second(counts)
    return _line(times, rates, name, color)


def _bars(axis: Axis, name: str, reasons: Iterable[str], color: str) -> Trace:
    counted = list(reasons)
    times, rates = axis.per_second([sum(each.errors.get(reason, 0) for reason in counted) for each in axis.moments])
    return {
        "type": "bar",
        "name": name,
        "x": times,
        "y": [float(f"{each:.4g}") for each in rates],
        "marker": {"color": color},
        "hovertemplate": f"%{{y:.3~f}} /s {_plain(name)}<extra></extra>",
    }


def _curve(number: int, measured: Measured) -> Trace:
    """Draw at most so many points of a curve: what lies between them differs by less than a pixel."""
    curve = measured.histogram.percentile_curve()
    step = max(len(curve) // CURVE_POINTS, 1)
    # The largest of n measurements stands at 1 - 1/(2n): at 1 the axis has no end.
    last = 1 - 0.5 / measured.histogram.count
    points = [(min(share, last), seconds) for share, seconds in (*curve[:-1:step], curve[-1])]
    return {
        "type": "scatter",
        "mode": "lines" if len(points) > 1 else "markers",
        "name": measured.label,
        "x": [float(f"{1 / (1 - share):.5g}") for share, _ in points],
        "y": [seconds for _, seconds in points],
        "text": [f"{share * 100:.5g} %" for share, _ in points],
        "line": {
            "width": 2,
            "color": f"@c{number % SERIES_COLORS}",
            "dash": ("solid", "dash", "dot")[number // SERIES_COLORS % 3],
        },
        "marker": {"color": f"@c{number % SERIES_COLORS}"},
        "hovertemplate": f"{_plain(measured.label)}: %{{text}} within %{{y:.3s}}s<extra></extra>",
    }


def _over_time(key: str, title: str, traces: Sequence[Trace], axis: Axis, suffix: str, **layout: Any) -> Figure:
    y_axis: dict[str, Any] = {"rangemode": "tozero", "ticksuffix": "" if suffix == "/s" else suffix}
    if suffix == "s":
        y_axis["tickformat"] = "~s"
    x_axis = {"range": [0, axis.end], "ticksuffix": f" {axis.unit}", "nticks": 6}
    return Figure(key, title, traces, {"xaxis": x_axis, "yaxis": y_axis, "hovermode": "x unified", **layout})


def _plain(text: str) -> str:
    """Keep plotly from reading a text as its own markup or template."""
    return text.replace("<", "‹").replace(">", "›").replace("%{", "%_{")
