"""Puts a run's tables and plots into one HTML page that needs nothing else."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup
from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

from device_sim.duration import format_duration, format_seconds
from device_sim.report.axis import axis_of
from device_sim.report.figures import (
    Figure,
    curve_figure,
    error_figure,
    latency_figures,
    rate_figures,
    state_figure,
    timed,
)
from device_sim.summary import ErrorCount, Measured, Summary

FOLDER = files("device_sim.report")
QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)


@dataclass(frozen=True, slots=True)
class Tile:
    """One number at the head of the page."""

    label: str
    value: str
    note: str = ""


def format_page(summary: Summary) -> str:
    """Write the page."""
    axis = axis_of(summary)
    latencies = latency_figures(summary, axis_of(summary, 60))
    curve, states, errors = curve_figure(summary), state_figure(summary, axis), error_figure(summary, axis)
    rates = rate_figures(summary, axis)
    drawn = [each for each in (*latencies, *rates, states, errors, curve) if each is not None]
    return _template().render(
        title=_title(summary),
        summary=summary,
        duration=format_duration(summary.snapshot.elapsed_seconds),
        tiles=_tiles(summary),
        rows=[(measured.label, _cells(measured)) for _, measured in timed(summary.snapshot)],
        errors=[_error_cells(summary, each) for each in sorted(summary.snapshot.errors, key=lambda each: -each.count)],
        latencies=latencies,
        curve=curve,
        rates=rates,
        states=states,
        error_figure=errors,
        figures=_json(drawn),
        style=Markup(_read("page.css")),  # noqa: S704 - our own files
        script=Markup(_read("page.js")),  # noqa: S704
        plotly=Markup(_plotly()),  # noqa: S704
    )


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_read("page.html.j2"))


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _plotly() -> str:
    library: str = get_plotlyjs()
    return library


def _json(figures: Sequence[Figure]) -> Markup:
    """Write the plots into a script element: no text of theirs may end it."""
    text = json.dumps([each.members for each in figures], ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))  # noqa: S704


def _title(summary: Summary) -> str:
    """Take the scenario's name from its text."""
    for line in summary.scenario_text.splitlines():
        key, colon, value = line.partition(":")
        if colon and key == "name" and value.strip():
            return value.strip().strip("'\"")
    return "fleet"


def _tiles(summary: Summary) -> list[Tile]:
    snapshot = summary.snapshot
    tiles = [Tile("devices", f"{sum(snapshot.states.values()):,}", _states(snapshot.states))]
    onboarding = snapshot.totals.get("onboarding")
    if onboarding is not None:
        tiles.append(Tile("onboarded", f"{onboarding.times:,}", f"{onboarding.rate:.3g} per second"))
        p50, p99 = onboarding.histogram.quantiles((0.5, 0.99))
        tiles.append(Tile("onboarding p99", format_seconds(p99), f"p50 {format_seconds(p50)}"))
    for kind, measured in snapshot.messages.items():
        tiles.append(Tile(kind, f"{measured.times:,}", f"{measured.rate:.3g} per second"))
    if snapshot.reconnects:
        tiles.append(Tile("reconnects", f"{snapshot.reconnects:,}"))
    reasons = len({each.reason for each in snapshot.errors})
    note = f"{reasons} reason{'s' if reasons > 1 else ''}" if reasons else ""
    return [*tiles, Tile("failures", f"{snapshot.error_count:,}", note)]


def _states(states: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {state}" for state, count in states.items() if count)


def _cells(measured: Measured) -> list[str]:
    histogram = measured.histogram
    quantiles = [format_seconds(each) for each in histogram.quantiles(QUANTILES)]
    mean, lowest, highest = (format_seconds(each) for each in (histogram.mean, histogram.minimum, histogram.maximum))
    return [f"{histogram.count:,}", lowest, mean, *quantiles, highest]


def _error_cells(summary: Summary, error: ErrorCount) -> tuple[str, str, str]:
    step = summary.snapshot.phases.get(error.phase)
    return error.reason, step.label if step is not None else error.phase or "–", f"{error.count:,}"
