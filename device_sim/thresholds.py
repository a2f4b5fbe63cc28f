"""What a run has to come to: `p99.registration < 8 s`, `errors == 0`, `rate.onboarded >= 50 /s`, as types.

A threshold is a subject, a relation and a limit. Subjects: `p50`, `p99.9`, `min`, `mean` or `max` of a latency;
`rate` of something counted, over the run; a count by its own name. Limits of latencies take `s`, `ms` or `min`,
limits of rates `/s` or `/min`; without a unit they are seconds, and per second.
"""

import difflib
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

from device_sim.phases import Phase

TOTALS = ("registration", "onboarding")
"""Latencies that count from the moment a device meant to begin; the others are those of a phase."""
COUNTS = ("devices", "onboarded", "connected", "finished", "failed", "errors", "reconnects", "renewals", "messages")


class ThresholdError(ValueError):
    """A text that is no threshold."""


class Statistic(StrEnum):
    """What of a latency is compared, beside its quantiles."""

    MIN = "min"
    MEAN = "mean"
    MAX = "max"


@dataclass(frozen=True, slots=True)
class Latency:
    """A quantile (0 to 1) or a statistic of a latency, in seconds."""

    name: str
    statistic: float | Statistic


@dataclass(frozen=True, slots=True)
class RateOf:
    """How many there were a second, over the whole run."""

    name: str


@dataclass(frozen=True, slots=True)
class CountOf:
    """How many there were."""

    name: str


Subject = Latency | RateOf | CountOf


class Measurements(Protocol):
    """What thresholds are compared with; None where nothing was measured."""

    def latency(self, name: str, statistic: float | Statistic) -> float | None:
        """Give a quantile (0 to 1) or statistic of a phase or total, in seconds."""
        ...

    def rate(self, name: str) -> float | None:
        """Give how many there were a second."""
        ...

    def count(self, name: str) -> float | None:
        """Give how many there were."""
        ...


@dataclass(frozen=True, slots=True)
class Threshold:
    """A parsed threshold; the limit is in seconds, per second, or a number."""

    text: str
    subject: Subject
    relation: str
    limit: float

    def __str__(self) -> str:
        return self.text

    def check(self, measurements: Measurements) -> "Verdict":
        """Compare; what was not measured does not meet any threshold."""
        measured = _measure(self.subject, measurements)
        return Verdict(self, measured, measured is not None and _RELATIONS[self.relation](measured, self.limit))


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run did by one threshold."""

    threshold: Threshold
    measured: float | None
    is_met: bool

    def __str__(self) -> str:
        return f"{self.threshold} ({self.shown})"

    @property
    def shown(self) -> str:
        """What was measured, in the threshold's unit."""
        if self.measured is None:
            return "not measured"
        match self.threshold.subject:
            case Latency():
                return f"{self.measured:.3g} s" if self.measured >= 1 else f"{self.measured * 1000:.3g} ms"
            case RateOf():
                return f"{self.measured:.3g} /s"
        return f"{self.measured:g}"


_RELATIONS: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {"<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">=": operator.ge, ">": operator.gt}
)
_SECONDS: Mapping[str, float] = MappingProxyType({"": 1, "s": 1, "ms": 0.001, "min": 60})
_PER_SECOND: Mapping[str, float] = MappingProxyType({"": 1, "/s": 1, "/min": 1 / 60})
_NO_UNIT: Mapping[str, float] = MappingProxyType({"": 1})
_FORM = re.compile(
    r"\s*(?P<subject>[A-Za-z0-9_.]+)\s*(?P<relation><=|>=|==|!=|<|>)\s*(?P<limit>\d+(?:\.\d+)?)\s*(?P<unit>/?[a-z]*)\s*",
    re.ASCII,
)
_QUANTILE = re.compile(r"p(?P<percent>\d{1,2}(?:\.\d{1,3})?)\.(?P<name>.+)", re.ASCII)


def latency_names() -> tuple[str, ...]:
    """Name everything whose latency can be compared: the totals, and the phases in their order."""
    return tuple(dict.fromkeys((*TOTALS, *(phase.name.lower() for phase in Phase))))


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


def check_thresholds(thresholds: Iterable[Threshold], measurements: Measurements) -> tuple[Verdict, ...]:
    """Compare a run with each threshold."""
    return tuple(threshold.check(measurements) for threshold in thresholds)


def _subject(text: str) -> Subject:
    quantile = _QUANTILE.fullmatch(text)
    if quantile is not None:
        return Latency(_known(quantile["name"], latency_names()), float(quantile["percent"]) / 100)
    kind, dot, name = text.partition(".")
    if dot and kind in tuple(Statistic):
        return Latency(_known(name, latency_names()), Statistic(kind))
    if dot and kind == "rate":
        return RateOf(_known(name, COUNTS))
    return CountOf(_known(text, COUNTS))


def _known(name: str, names: Sequence[str]) -> str:
    if name in names:
        return name
    close = difflib.get_close_matches(name, names, n=1)
    hint = f", did you mean {close[0]!r}?" if close else ""
    raise ThresholdError(f"{name!r} is not measured{hint} (there is: {', '.join(names)})")


def _units(subject: Subject) -> Mapping[str, float]:
    match subject:
        case Latency():
            return _SECONDS
        case RateOf():
            return _PER_SECOND
    return _NO_UNIT


def _measure(subject: Subject, measurements: Measurements) -> float | None:
    match subject:
        case Latency(name, statistic):
            return measurements.latency(name, statistic)
        case RateOf(name):
            return measurements.rate(name)
    return measurements.count(subject.name)
