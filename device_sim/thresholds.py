"""What a run has to come to: `p99.registration < 8 s`, `errors == 0`, `rate.onboarded >= 50 /s`, as types.

A threshold is a subject, a relation and a limit. Subjects: `p50`, `p99.9`, `min`, `mean` or `max` of a latency;
`rate` of something that is counted; a count by its own name. Limits of latencies take `s`, `ms` or `min`, limits of
rates `/s` or `/min`; without a unit they are seconds, and per second.
"""

import difflib
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from device_sim.duration import format_seconds
from device_sim.phases import Phase
from device_sim.summary import ONBOARDING, RATE_NAMES, REGISTRATION, Snapshot, Verdict

MESSAGES: Final = ("telemetry", "twin", "method", "c2d")
STATES: Final = ("connected", "finished", "failed")
DEVICES: Final = "devices"
ERRORS: Final = "errors"
RECONNECTS: Final = "reconnects"


class ThresholdError(ValueError):
    """A text that is no threshold."""


class Statistic(StrEnum):
    """What of a latency is compared, beside its quantiles."""

    MIN = "min"
    MEAN = "mean"
    MAX = "max"


@dataclass(frozen=True, slots=True)
class LatencyOf:
    """A quantile (0 to 1) or a statistic of a total, a phase or a kind of message, in seconds."""

    name: str
    statistic: float | Statistic

    def observe(self, snapshot: Snapshot) -> float | None:
        """Give what was measured, None if nothing was."""
        latency = snapshot.latency(self.name)
        if latency is None:
            return None
        match self.statistic:
            case Statistic.MIN:
                return latency.minimum
            case Statistic.MEAN:
                return latency.mean
            case Statistic.MAX:
                return latency.maximum
        return latency.quantile(self.statistic)


@dataclass(frozen=True, slots=True)
class RateOf:
    """How many there were a second, over the stretch in which it was going on."""

    name: str

    def observe(self, snapshot: Snapshot) -> float | None:
        """Give what was measured, None if nothing was."""
        return snapshot.rate(self.name)


@dataclass(frozen=True, slots=True)
class CountOf:
    """How many there were: errors, devices, devices in a state now, or times that something happened."""

    name: str

    def observe(self, snapshot: Snapshot) -> float:
        """Give the number, 0 if it never happened."""
        if self.name == ERRORS:
            return snapshot.error_count
        if self.name == DEVICES:
            return sum(snapshot.states.values())
        if self.name == RECONNECTS:
            return snapshot.reconnects
        if self.name in STATES:
            return snapshot.states.get(self.name, 0)
        measured = snapshot.measured(RATE_NAMES.get(self.name, self.name))
        return measured.times if measured is not None else 0


Subject = LatencyOf | RateOf | CountOf


@dataclass(frozen=True, slots=True)
class Threshold:
    """A parsed threshold; the limit is in seconds, per second, or a number."""

    text: str
    subject: Subject
    relation: str
    limit: float

    def __str__(self) -> str:
        return self.text

    def holds(self, snapshot: Snapshot) -> bool:
        """Tell whether it is so; of what was not measured nothing holds."""
        observed = self.subject.observe(snapshot)
        return observed is not None and _RELATIONS[self.relation](observed, self.limit)

    def check(self, snapshot: Snapshot) -> Verdict:
        """Compare, and say what was observed."""
        return Verdict(self.text, _shown(self.subject, self.subject.observe(snapshot)), self.holds(snapshot))


_RELATIONS: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {"<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">=": operator.ge, ">": operator.gt}
)
_SECONDS: Mapping[str, float] = MappingProxyType({"": 1, "s": 1, "ms": 0.001, "min": 60})
_PER_SECOND: Mapping[str, float] = MappingProxyType({"": 1, "/s": 1, "/min": 1 / 60})
_NO_UNIT: Mapping[str, float] = MappingProxyType({"": 1})
_FORM = re.compile(
    r"\s*(?P<subject>[A-Za-z0-9_.]+)\s*(?P<relation><=|>=|==|!=|<|>)\s*(?P<limit>\d{1,12}(?:\.\d{1,12})?)\s*(?P<unit>/?[a-z]*)\s*",
    re.ASCII,
)
_QUANTILE = re.compile(r"p(?P<percent>\d{1,2}(?:\.\d{1,3})?)\.(?P<name>[a-z].*)", re.ASCII)


def latency_names() -> tuple[str, ...]:
    """Name everything that has a latency: the totals, the phases in their order, and messages."""
    return tuple(dict.fromkeys((REGISTRATION, ONBOARDING, *(phase.name.lower() for phase in Phase), *MESSAGES)))


def rate_names() -> tuple[str, ...]:
    """Name everything that has a rate."""
    return tuple(dict.fromkeys((*RATE_NAMES, *MESSAGES)))


def count_names() -> tuple[str, ...]:
    """Name everything that is counted."""
    return (ERRORS, DEVICES, RECONNECTS, *STATES, *rate_names())


def parse_threshold(text: str) -> Threshold:
    """Read a threshold.

    Raises:
        ThresholdError: it has another form, or names something that is not measured.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ThresholdError(f"must be such as 'p99.registration < 8 s' or 'errors == 0', not {text[:80]!r}")
    subject = _subject(match["subject"])
    units = _units(subject)
    if match["unit"] not in units:
        known = ", ".join(unit for unit in units if unit) or "none"
        raise ThresholdError(f"{match['unit']!r} is no unit of {match['subject']} (there is: {known})")
    return Threshold(text.strip(), subject, match["relation"], float(match["limit"]) * units[match["unit"]])


def check_thresholds(thresholds: Iterable[Threshold], snapshot: Snapshot) -> tuple[Verdict, ...]:
    """Compare a run with each threshold."""
    return tuple(threshold.check(snapshot) for threshold in thresholds)


def _subject(text: str) -> Subject:
    quantile = _QUANTILE.fullmatch(text)
    if quantile is not None:
        return LatencyOf(_known(quantile["name"], latency_names()), round(float(quantile["percent"]) / 100, 5))
    kind, dot, name = text.partition(".")
    if dot and kind in tuple(Statistic):
        return LatencyOf(_known(name, latency_names()), Statistic(kind))
    if dot and kind == "rate":
        return RateOf(_known(name, rate_names()))
    return CountOf(_known(text, count_names()))


def _known(name: str, names: Sequence[str]) -> str:
    if name in names:
        return name
    close = difflib.get_close_matches(name, names, n=1)
    hint = f", did you mean {close[0]!r}?" if close else ""
    raise ThresholdError(f"{name!r} is not measured{hint} (there is: {', '.join(names)})")


def _units(subject: Subject) -> Mapping[str, float]:
    match subject:
        case LatencyOf():
            return _SECONDS
        case RateOf():
            return _PER_SECOND
    return _NO_UNIT


def _shown(subject: Subject, observed: float | None) -> str:
    if observed is None:
        return "not measured"
    match subject:
        case LatencyOf():
            return format_seconds(observed)
        case RateOf():
            return f"{observed:.3g} /s"
    return f"{observed:g}"
