"""What a fleet's run came to, as a value: for thresholds, the terminal, the report, and other machines.

`summary_json` writes and reads it; `summary_merge` makes one of those of several workers.
"""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from device_sim.histogram import Histogram
from device_sim.timeline import Moment

ONBOARDING: Final = "onboarding"
REGISTRATION: Final = "registration"
RENEWAL: Final = "renewal"

# What a rate is called, and the total, phase or message that it counts.
RATE_NAMES: Final[Mapping[str, str]] = {"onboarded": ONBOARDING, "registered": REGISTRATION, "renewed": RENEWAL}


@dataclass(frozen=True, slots=True)
class Measured:
    """One thing that was measured `times` times, from `first` to `last` (seconds after the run began).

    `label` is how it is called in front of people. `histogram` is empty for messages that nobody answers.
    """

    label: str
    histogram: Histogram
    times: int
    first: float
    last: float

    @property
    def rate(self) -> float:
        """How many a second, over the stretch in which it was going on; 0 if that was no time at all."""
        stretch = self.last - self.first
        return self.times / stretch if stretch > 0 else 0.0


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """How often something failed for one reason; `phase` is the name of the step, or empty."""

    reason: str
    phase: str
    count: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was counted so far; phases (`dps_tls`), totals (`onboarding`) and messages (`telemetry`) by name."""

    elapsed_seconds: float = 0.0
    states: Mapping[str, int] = field(default_factory=dict)
    reconnects: int = 0
    phases: Mapping[str, Measured] = field(default_factory=dict)
    totals: Mapping[str, Measured] = field(default_factory=dict)
    messages: Mapping[str, Measured] = field(default_factory=dict)
    errors: tuple[ErrorCount, ...] = ()

    @property
    def error_count(self) -> int:
        """How many failures of all kinds."""
        return sum(each.count for each in self.errors)

    def measured(self, name: str) -> Measured | None:
        """Find what was measured by its name: a total first, then a phase, then a kind of message."""
        return self.totals.get(name) or self.phases.get(name) or self.messages.get(name)

    def latency(self, name: str) -> Histogram | None:
        """Give the latencies of a total, phase or kind of message; None when none was measured."""
        measured = self.measured(name)
        return measured.histogram if measured is not None and measured.histogram.count else None

    def rate(self, name: str) -> float | None:
        """Give how many a second: `onboarded`, `registered`, `renewed`, or the name of anything measured.

        None when it never happened.
        """
        measured = self.measured(RATE_NAMES.get(name, name))
        return measured.rate if measured is not None else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a threshold: `observed` is what was measured, in words, such as `3.2 s`."""

    threshold: str
    observed: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Summary:
    """A whole run. Every moment of the timeline is `moment_seconds` long.

    `stopped_by` is the condition that ended it, such as `errors > 100`; empty when none did.
    """

    snapshot: Snapshot
    started_at: datetime
    moment_seconds: float
    timeline: tuple[Moment, ...]
    scenario_text: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()
    stopped_by: str = ""


def this_machine() -> Mapping[str, str]:
    """Tell what a measurement was made on."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "cores": str(os.cpu_count() or "unknown"),
        "python": platform.python_version(),
    }
