"""A fleet's run in the terminal: the tables of the live view, and what is said at the end."""

from collections.abc import Iterable, Mapping
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from device_sim.duration import format_duration, format_rate, format_seconds
from device_sim.summary import ErrorCount, Measured, Snapshot, Summary, Verdict

QUANTILES: Final[Mapping[str, float]] = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
STATE_STYLES: Final[Mapping[str, str]] = {
    "connected": "green",
    "reconnecting": "yellow",
    "failed": "red",
    "waiting": "dim",
    "finished": "dim",
}


def show_summary(summary: Summary, console: Console) -> None:
    """Print what a run came to."""
    snapshot = summary.snapshot
    console.print()
    ending = f" after {format_duration(snapshot.elapsed_seconds)}"
    if summary.stopped_by:
        ending += f", stopped by {summary.stopped_by}"
    console.print(Text.assemble(states_line(snapshot), ending), soft_wrap=True)
    console.print(rates_line(snapshot), soft_wrap=True)
    series = timed(snapshot)
    if series:
        console.print(latency_table(series))
    if snapshot.errors:
        console.print(error_table(snapshot.errors, snapshot))
    if summary.verdicts:
        console.print(verdict_table(summary.verdicts))


def timed(snapshot: Snapshot) -> list[Measured]:
    """List what was timed: totals, the phases in their order, messages."""
    series = (*snapshot.totals.values(), *snapshot.phases.values(), *snapshot.messages.values())
    return [each for each in series if each.histogram.count]


def states_line(snapshot: Snapshot) -> Text:
    """Say how many devices are in which state."""
    present = [(state, count) for state, count in snapshot.states.items() if count]
    line = Text(f"{sum(snapshot.states.values()):,} devices: ", style="bold")
    if not present:
        return line.append("none", style="not bold")
    for number, (state, count) in enumerate(present):
        line.append(", " if number else "", style="not bold")
        line.append(f"{count:,} {state}", style=f"not bold {STATE_STYLES.get(state, '')}")
    return line


def rates_line(snapshot: Snapshot) -> Text:
    """Say what was done, how often, and how many a second while it was going on."""
    parts = []
    onboarding = snapshot.totals.get("onboarding")
    if onboarding is not None:
        parts.append(f"{onboarding.times:,} onboarded ({format_rate(onboarding.rate)} /s)")
    parts += [f"{each.times:,} {kind} ({format_rate(each.rate)} /s)" for kind, each in snapshot.messages.items()]
    if snapshot.reconnects:
        parts.append(f"{snapshot.reconnects:,} reconnects")
    line = Text(", ".join(parts) or "nothing done yet")
    failures = snapshot.error_count
    return line.append(f", {failures:,} failures", style="red") if failures else line.append(", no failure")


def latency_table(series: Iterable[Measured]) -> Table:
    """Tabulate how long each step took."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("step", no_wrap=True)
    for heading in ("count", *QUANTILES, "max"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in series:
        quantiles = each.histogram.quantiles(QUANTILES.values())
        numbers = (format_seconds(seconds) for seconds in (*quantiles, each.histogram.maximum))
        table.add_row(each.label, f"{each.histogram.count:,}", *numbers)
    return table


def error_table(errors: Iterable[ErrorCount], snapshot: Snapshot) -> Table:
    """Tabulate failures by reason, the most frequent first."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("failure", style="red")
    table.add_column("step")
    table.add_column("count", justify="right")
    for each in sorted(errors, key=lambda each: -each.count):
        step = snapshot.phases.get(each.phase)
        table.add_row(Text(each.reason), step.label if step is not None else each.phase, f"{each.count:,}")
    return table


def verdict_table(verdicts: Iterable[Verdict]) -> Table:
    """Tabulate the thresholds."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("threshold")
    table.add_column("measured", justify="right")
    table.add_column("")
    for each in verdicts:
        verdict = Text("✓ met", style="green") if each.passed else Text("✗ missed", style="bold red")
        table.add_row(Text(each.threshold), each.observed, verdict)
    return table
