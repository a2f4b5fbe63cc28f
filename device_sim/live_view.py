"""Shows a fleet while it runs: bars and tables on a terminal, a line now and then elsewhere."""

import asyncio
from collections import deque
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from device_sim.duration import format_duration, format_rate, format_seconds
from device_sim.recorder import DeviceState, Recorder
from device_sim.summary import Measured, Snapshot
from device_sim.terminal_summary import error_table, latency_table, show_summary, states_line, timed

__all__ = ["LiveView", "show_summary"]

# A refresh costs several milliseconds of the processor that the devices run on.
REFRESH_SECONDS: Final = 1.0
LINE_SECONDS: Final = 5.0
# Over how long the present rates are taken.
RATE_SECONDS: Final = 5.0
BAR_WIDTH: Final = 40
# The lines of a refresh that are not rows of tables: name, bars, states, a table's heading.
FIXED_LINES: Final = 10
MOST_ERRORS: Final = 6


class LiveView:
    """A context, in a running event loop, in which a recorder is shown; on a terminal it makes way for the summary.

    Args:
        recorder: what is shown.
        devices: how many there will be.
        name: the scenario's.
        console: where; without a terminal it gets a line every few seconds.
        line_seconds: how often, without a terminal.
    """

    def __init__(
        self,
        recorder: Recorder,
        devices: int,
        name: str = "fleet",
        console: Console | None = None,
        *,
        line_seconds: float = LINE_SECONDS,
    ) -> None:
        self._recorder = recorder
        self._devices = devices
        self._name = name
        self._console = console or Console(highlight=False)
        self._line_seconds = line_seconds
        self._recent: deque[Snapshot] = deque()
        self._live: Live | None = None
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop", transient=True)
            self._live.start()
        self._task = asyncio.create_task(self._run())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None, "a context is left after it was entered"
        self._task.cancel()
        if self._live is not None:
            self._live.stop()
        else:
            self.refresh()

    def refresh(self) -> None:
        """Show the present state."""
        snapshot = self._recorder.snapshot()
        self._remember(snapshot)
        if self._live is not None:
            self._live.update(self.render(snapshot), refresh=True)
        else:
            self._console.print(self.line(snapshot), soft_wrap=True)

    def line(self, snapshot: Snapshot) -> Text:
        """Give the present state in one line."""
        onboarded = _times(snapshot.totals.get("onboarding"))
        text = Text(f"{format_duration(snapshot.elapsed_seconds)}: {onboarded:,} of {self._devices:,} onboarded")
        text.append(f" ({format_rate(self._rate(snapshot))} /s)")
        text.append("".join(f", {count:,} {state}" for state, count in snapshot.states.items() if count))
        onboarding = snapshot.totals.get("onboarding")
        if onboarding is not None:
            p50, p99 = onboarding.histogram.quantiles((0.5, 0.99))
            text.append(f"; p50 {format_seconds(p50)}, p99 {format_seconds(p99)}")
        text.append("".join(f"; {each.times:,} {kind}" for kind, each in snapshot.messages.items()))
        failures = ", ".join(f"{reason} {count:,}" for reason, count in _by_reason(snapshot))
        return text.append(f"; failed: {failures}" if failures else "")

    def render(self, snapshot: Snapshot) -> RenderableType:
        """Give the present state as bars and tables that fit on the terminal."""
        parts: list[RenderableType] = [self._heading(snapshot), self._bars(snapshot), states_line(snapshot)]
        errors = sorted(snapshot.errors, key=lambda each: -each.count)[:MOST_ERRORS]
        room = max(self._console.height - FIXED_LINES - (len(errors) + 3 if errors else 0), 3)
        series = timed(snapshot)
        if series:
            parts.append(latency_table(series[:room]))
        if len(series) > room:
            parts.append(Text(f"… and {len(series) - room} more", style="dim"))
        if errors:
            parts.append(error_table(errors, snapshot))
        return Group(*parts)

    async def _run(self) -> None:
        seconds = self._line_seconds if self._live is None else REFRESH_SECONDS
        while True:
            if self._live is not None:
                self.refresh()
            await asyncio.sleep(seconds)
            if self._live is None:
                self.refresh()

    def _heading(self, snapshot: Snapshot) -> Text:
        heading = Text(self._name, style="bold")
        heading.append(f"  {format_duration(snapshot.elapsed_seconds)}", style="not bold")
        heading.append(f"  {format_rate(self._rate(snapshot))} onboarded /s", style="not bold cyan")
        for kind in snapshot.messages:
            heading.append(f"  {format_rate(self._rate(snapshot, kind))} {kind} /s", style="not bold cyan")
        return heading

    def _bars(self, snapshot: Snapshot) -> Table:
        table = Table.grid(padding=(0, 2))
        connected = snapshot.states.get(DeviceState.CONNECTED, 0)
        for label, count in (("onboarded", _times(snapshot.totals.get("onboarding"))), ("connected", connected)):
            # Devices that come back are onboarded more than once.
            bar = ProgressBar(total=max(self._devices, 1), completed=min(count, self._devices), width=BAR_WIDTH)
            table.add_row(label, bar, f"{count:,}/{self._devices:,}")
        return table

    def _remember(self, snapshot: Snapshot) -> None:
        self._recent.append(snapshot)
        while snapshot.elapsed_seconds - self._recent[0].elapsed_seconds > RATE_SECONDS:
            self._recent.popleft()

    def _rate(self, snapshot: Snapshot, kind: str = "") -> float:
        """Tell how many onboardings, or messages of a kind, there were a second during the last seconds."""
        since = self._recent[0] if len(self._recent) > 1 else Snapshot()
        stretch = snapshot.elapsed_seconds - since.elapsed_seconds
        done = _done(snapshot, kind) - _done(since, kind)
        return done / stretch if stretch > 0 else 0.0


def _by_reason(snapshot: Snapshot) -> list[tuple[str, int]]:
    reasons: dict[str, int] = {}
    for each in snapshot.errors:
        reasons[each.reason] = reasons.get(each.reason, 0) + each.count
    return sorted(reasons.items(), key=lambda pair: -pair[1])


def _done(snapshot: Snapshot, kind: str) -> int:
    return _times(snapshot.messages.get(kind) if kind else snapshot.totals.get("onboarding"))


def _times(measured: Measured | None) -> int:
    return measured.times if measured is not None else 0
