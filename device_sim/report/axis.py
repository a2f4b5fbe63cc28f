"""The time axis that all plots of a report share."""

from collections.abc import Sequence
from dataclasses import dataclass

from device_sim.summary import Summary
from device_sim.timeline import Moment

MOST_POINTS = 120


@dataclass(frozen=True, slots=True)
class Axis:
    """Moments at a width that a plot can show; times are in `unit`, of which one has `unit_seconds`.

    The last moment may have been cut short by the end of the run, at `elapsed_seconds`.
    """

    moments: tuple[Moment, ...]
    moment_seconds: float
    elapsed_seconds: float
    unit: str
    unit_seconds: float

    @property
    def middles(self) -> list[float]:
        """Where what was counted during a moment is drawn."""
        return [round((each.start + self.moment_seconds / 2) / self.unit_seconds, 4) for each in self.moments]

    @property
    def ends(self) -> list[float]:
        """Where what was so at the end of a moment is drawn."""
        ends = (min(each.start + self.moment_seconds, self.elapsed_seconds) for each in self.moments)
        return [round(end / self.unit_seconds, 4) for end in ends]

    def per_second(self, counts: Sequence[int]) -> tuple[list[float], list[float]]:
        """Give times and rates of what was counted in each moment.

        A rest of less than half a moment counts with the moment before it: a rate over so little would be chance.
        """
        width = self.moment_seconds
        spans = [(each.start, width, count) for each, count in zip(self.moments, counts, strict=True)]
        if spans:
            start, _, count = spans.pop()
            rest = self.elapsed_seconds - start
            if spans and rest < width / 2:
                start, _, before = spans.pop()
                rest, count = rest + width, count + before
            spans.append((start, rest, count))
        times = [round((start + seconds / 2) / self.unit_seconds, 4) for start, seconds, _ in spans]
        return times, [count / seconds if seconds > 0 else 0.0 for _, seconds, count in spans]

    @property
    def end(self) -> float:
        """Where the run ended."""
        return round(self.elapsed_seconds / self.unit_seconds, 4)


def axis_of(summary: Summary, most: int = MOST_POINTS) -> Axis:
    """Join moments until there are at most so many, and choose a unit for the length of the run."""
    moments, moment_seconds = summary.timeline, summary.moment_seconds
    elapsed = summary.snapshot.elapsed_seconds
    while len(moments) > most:
        moments = tuple(_pairs(moments))
        moment_seconds *= 2
    unit, unit_seconds = _unit(elapsed)
    return Axis(moments, moment_seconds, elapsed, unit, unit_seconds)


def _unit(elapsed: float) -> tuple[str, float]:
    if elapsed > 3 * 3600:
        return "h", 3600
    return ("min", 60) if elapsed > 180 else ("s", 1)


def _pairs(moments: Sequence[Moment]) -> list[Moment]:
    pairs = zip(moments[::2], moments[1::2], strict=False)
    joined = [one.joined(other, other.states) for one, other in pairs]
    return joined + list(moments[len(joined) * 2 :])
