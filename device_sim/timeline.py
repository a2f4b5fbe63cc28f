"""What a fleet did second by second, in at most so many moments: a long run gets wider ones."""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, TypeVar

from device_sim.histogram import Histogram

Key = TypeVar("Key", int, str)

MAX_MOMENTS: Final = 600

# A moment keeps latencies in 32 buckets for each power of two (3 %): enough for a curve, a fraction of the memory.
_COARSE_BITS: Final = 5
_COARSE_HALF: Final = 1 << (_COARSE_BITS - 1)


def coarse(bucket: int) -> int:
    """Number the coarse bucket that holds a bucket of `latency`."""
    return bucket >> _COARSE_BITS


@dataclass(frozen=True)
class Moment:
    """One stretch of time, from `start` seconds after the run began.

    `latencies` are exact to 3 %, by `phase.…`, `total.…` or `message.…` and the name; `messages` counts the messages
    by kind, `errors` the failures by reason; `states` is how many devices were in each state at the end.
    """

    start: float
    latencies: Mapping[str, Histogram] = field(default_factory=dict)
    messages: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)
    states: Mapping[str, int] = field(default_factory=dict)

    def joined(self, other: "Moment", states: Mapping[str, int]) -> "Moment":
        """Give one moment that counts what both do, with these states at its end."""
        latencies = dict(self.latencies)
        for name, histogram in other.latencies.items():
            latencies[name] = latencies[name].merged(histogram) if name in latencies else histogram
        return Moment(
            self.start, latencies, added(self.messages, other.messages), added(self.errors, other.errors), states
        )


def added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """Add counts by name."""
    total = dict(one)
    _add(total, other)
    return total


class OpenMoment:
    """The stretch of time that is being counted; `packed` are its latencies once it is over."""

    __slots__ = ("errors", "latencies", "messages", "packed", "states")

    def __init__(self) -> None:
        self.latencies: dict[str, dict[int, int]] = {}
        self.packed: dict[str, array[int]] = {}
        self.messages: dict[str, int] = {}
        self.errors: dict[str, int] = {}
        self.states: dict[str, int] = {}

    def took(self, name: str, bucket: int) -> None:
        """Count one latency by its coarse bucket."""
        counts = self.latencies.get(name)
        if counts is None:
            counts = self.latencies[name] = {}
        counts[bucket] = counts.get(bucket, 0) + 1

    def pack(self) -> None:
        """Keep the latencies in a tenth of the space: bucket, count, bucket, count, …"""
        self.packed = {name: array("I", chain(*counts.items())) for name, counts in self.latencies.items()}
        self.latencies = {}

    def absorb(self, later: "OpenMoment") -> None:
        """Take in the stretch that comes after this one; both are packed."""
        latencies = self.unpacked()
        for name, counts in later.unpacked().items():
            _add(latencies.setdefault(name, {}), counts)
        self.latencies = latencies
        self.pack()
        _add(self.messages, later.messages)
        _add(self.errors, later.errors)
        self.states = later.states

    def frozen(self, start: float) -> Moment:
        """Give what was counted so far."""
        latencies = {name: _histogram(counts) for name, counts in (self.latencies or self.unpacked()).items()}
        return Moment(start, latencies, dict(self.messages), dict(self.errors), dict(self.states))

    def unpacked(self) -> dict[str, dict[int, int]]:
        """Give the latencies as they were before `pack`."""
        return {name: dict(zip(each[::2], each[1::2], strict=True)) for name, each in self.packed.items()}


class Timeline:
    """Moments of equal width in seconds, the last of them open; when there are too many, pairs become one.

    Args:
        states: the devices by state, as they are now; copied at the end of each moment.
        seconds: the width to begin with.
        most: how many closed moments there may be, an even number.
    """

    def __init__(self, states: Mapping[str, int], *, seconds: float = 1.0, most: int = MAX_MOMENTS) -> None:
        self.seconds = seconds
        self._states = states
        self._most = most
        self._closed: list[OpenMoment] = []
        self._open = OpenMoment()
        self._open_until = seconds

    def at(self, elapsed: float) -> OpenMoment:
        """Give the moment to count in, so many seconds after the run began; time does not go back."""
        if elapsed >= self._open_until:
            self._advance(elapsed)
        return self._open

    def moments(self, elapsed: float) -> tuple[Moment, ...]:
        """Give all moments until now."""
        self.at(elapsed).states = dict(self._states)
        return tuple(moment.frozen(number * self.seconds) for number, moment in enumerate([*self._closed, self._open]))

    def _advance(self, elapsed: float) -> None:
        """Close the open moment, and those that nothing happened in since."""
        while elapsed >= self._open_until:
            self._open.states = dict(self._states)
            self._open.pack()
            self._closed.append(self._open)
            self._open = OpenMoment()
            if len(self._closed) >= self._most:
                self._widen()
            self._open_until = (len(self._closed) + 1) * self.seconds

    def _widen(self) -> None:
        closed = self._closed
        for earlier, later in zip(closed[::2], closed[1::2], strict=True):
            earlier.absorb(later)
        self._closed = closed[::2]
        self.seconds *= 2


def _add(counts: dict[Key, int], more: Mapping[Key, int]) -> None:
    for key, count in more.items():
        counts[key] = counts.get(key, 0) + count


def _histogram(counts: Mapping[int, int]) -> Histogram:
    """Give a coarse bucket's count to the bucket in its middle."""
    return Histogram({(bucket << _COARSE_BITS) + _COARSE_HALF: count for bucket, count in counts.items()})
