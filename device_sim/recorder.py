"""Counts what happens to the devices of a fleet, at about a microsecond an event and in bounded memory."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from device_sim.histogram import Histogram, bucket_of
from device_sim.phases import Phase
from device_sim.summary import ErrorCount, Measured, Snapshot, Summary, this_machine
from device_sim.timeline import Timeline, coarse

MAX_REASONS: Final = 100
OTHER_REASONS: Final = "other reasons"
# A thousand devices are onboarded within seconds: the first moments are short, and widen as the run goes on.
FIRST_MOMENT_SECONDS: Final = 0.25


class DeviceState(StrEnum):
    """Where a device is on its way."""

    WAITING = "waiting"
    PROVISIONING = "provisioning"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    FINISHED = "finished"
    FAILED = "failed"


def name_of(phase: Phase) -> str:
    """Name a phase as thresholds, JSON and metrics do: `dps_tls`."""
    return phase.name.lower()


class Series:
    """One thing that is measured again and again; its rate is that of the stretch in which it was going on."""

    __slots__ = ("_histogram", "_times_then", "counts", "first", "key", "label", "last", "times")

    def __init__(self, key: str, label: str) -> None:
        self.key = key
        self.label = label
        self.counts: dict[int, int] = {}
        self.times = 0
        self.first = 0.0
        self.last = 0.0
        self._histogram = Histogram()
        self._times_then = 0

    def happened(self, began: float, ended: float) -> None:
        """Count once; `began` and `ended` are seconds since the start of the run."""
        if not self.times or began < self.first:
            self.first = began
        self.times += 1
        self.last = ended

    def took(self, bucket: int) -> None:
        """Count one latency."""
        self.counts[bucket] = self.counts.get(bucket, 0) + 1

    def measured(self) -> Measured:
        """Give what was measured so far; an unchanged series gives the very value it gave before."""
        if self.times != self._times_then:
            self._histogram = Histogram(dict(self.counts))
            self._times_then = self.times
        return Measured(self.label, self._histogram, self.times, max(self.first, 0.0), self.last)


class Recorder:
    """The eyes of a fleet: its engine tells what happens, the live view, the report and the metrics look on.

    Args:
        clock: seconds that only go forward.
        now: the time of day, for the summary.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._clock = clock
        self._began = clock()
        self._started_at = now()
        self._states: dict[str, int] = {state.value: 0 for state in DeviceState}
        self._reconnects = 0
        self._phases: dict[Phase, Series] = {phase: Series(f"phase.{name_of(phase)}", phase.value) for phase in Phase}
        self._totals: dict[str, Series] = {}
        self._messages: dict[str, Series] = {}
        self._errors: dict[tuple[str, str], int] = {}
        self._timeline = Timeline(self._states, seconds=FIRST_MOMENT_SECONDS)

    def moved(self, before: DeviceState | None, after: DeviceState) -> None:
        """Take note that a device is in another state; `before` is None for a device that is new."""
        # First, so that a moment that is over keeps the states as they were.
        self._timeline.at(self._clock() - self._began)
        if before is not None:
            self._states[before] -= 1
        self._states[after] += 1
        if after is DeviceState.RECONNECTING and before is not after:
            self._reconnects += 1

    def phase(self, phase: Phase, seconds: float) -> None:
        """Take note that a device went through a step, and how long the step itself took."""
        self._measure(self._phases[phase], seconds)

    def total(self, name: str, seconds_since_intended: float) -> None:
        """Take note that a device reached something, such as `registration` or `onboarding`.

        The time counts from when the device was to set out, not from when there was room for it: a fleet that falls
        behind its plan shows it (no coordinated omission).
        """
        series = self._totals.get(name)
        if series is None:
            series = self._totals[name] = Series(f"total.{name}", name)
        self._measure(series, seconds_since_intended)

    def message(self, kind: str, seconds: float | None = None) -> None:
        """Take note of a message (`telemetry`, `c2d`, `method`, `twin`); seconds until it was answered, if it was."""
        series = self._messages.get(kind)
        if series is None:
            series = self._messages[kind] = Series(f"message.{kind}", kind)
        if seconds is None:
            elapsed = self._clock() - self._began
            series.happened(elapsed, elapsed)
        else:
            self._measure(series, seconds)
        messages = self._timeline.at(series.last).messages
        messages[kind] = messages.get(kind, 0) + 1

    def failed(self, reason: str, phase: Phase | None = None) -> None:
        """Take note of a failure; `reason` in few words, the same for every device that meets it.

        After so many different reasons the rest count together: text that changes with each device would fill the
        memory.
        """
        error = (reason, name_of(phase) if phase is not None else "")
        if error not in self._errors and len(self._errors) >= MAX_REASONS:
            error = (OTHER_REASONS, "")
        self._errors[error] = self._errors.get(error, 0) + 1
        errors = self._timeline.at(self._clock() - self._began).errors
        errors[error[0]] = errors.get(error[0], 0) + 1

    def snapshot(self) -> Snapshot:
        """Give what was counted so far; cheap enough for a few times a second."""
        return Snapshot(
            elapsed_seconds=self._clock() - self._began,
            states=dict(self._states),
            reconnects=self._reconnects,
            phases={name_of(phase): series.measured() for phase, series in self._phases.items() if series.times},
            totals={name: series.measured() for name, series in self._totals.items()},
            messages={kind: series.measured() for kind, series in self._messages.items()},
            errors=tuple(ErrorCount(*error, count) for error, count in self._errors.items()),
        )

    def summary(self, scenario_text: str = "", versions: Mapping[str, str] | None = None) -> Summary:
        """Give what the run came to, with the scenario it ran and what ran it."""
        snapshot = self.snapshot()
        return Summary(
            snapshot=snapshot,
            started_at=self._started_at,
            moment_seconds=self._timeline.seconds,
            timeline=self._timeline.moments(snapshot.elapsed_seconds),
            scenario_text=scenario_text,
            versions=dict(versions or {}),
            machine=this_machine(),
        )

    def _measure(self, series: Series, seconds: float) -> None:
        elapsed = self._clock() - self._began
        bucket = bucket_of(seconds)
        series.happened(elapsed - seconds, elapsed)
        series.took(bucket)
        self._timeline.at(elapsed).took(series.key, coarse(bucket))
