"""The counters behind the emulator's metrics: plain numbers, added to in the loop and read at a scrape."""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

# Upper bounds in seconds: a commit takes tens of microseconds, on a slow disk milliseconds.
BOUNDS: Final = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
)  # fmt: skip

# What devices and services say to each other, by the beginning of the topic.
_TOPICS: Final = (
    ("$iothub/twin/", "twin"),
    ("$iothub/methods/", "method"),
    ("$iothub/credentials/", "credential"),
    ("$dps/registrations/", "registration"),
    ("devices/", "c2d"),
)
OTHER_TOPIC: Final = "other"


def kind_of(topic: str) -> str:
    """Name what a message is about; telemetry is told by who sends it, and is not asked here."""
    return next((kind for prefix, kind in _TOPICS if topic.startswith(prefix)), OTHER_TOPIC)


class GatewayCounts:
    """What one hub or DPS, called `gateway`, has seen since the start."""

    __slots__ = (
        "accepted",
        "connected",
        "gateway",
        "messages_in",
        "messages_out",
        "refusals",
        "telemetry",
        "telemetry_bytes",
    )

    def __init__(self, gateway: str) -> None:
        self.gateway = gateway
        self.accepted = 0
        self.connected = 0
        self.telemetry = 0
        self.telemetry_bytes = 0
        self.refusals: dict[tuple[int, str], int] = {}
        self.messages_in: dict[str, int] = {}
        self.messages_out: dict[str, int] = {}

    def refused(self, return_code: int, reason: str) -> None:
        """Count a refused CONNECT."""
        self.refusals[return_code, reason] = self.refusals.get((return_code, reason), 0) + 1

    def received(self, topic: str) -> None:
        """Count a message of a device that is not telemetry."""
        kind = kind_of(topic)
        self.messages_in[kind] = self.messages_in.get(kind, 0) + 1

    def sent(self, topic: str) -> None:
        """Count a message to a device."""
        kind = kind_of(topic)
        self.messages_out[kind] = self.messages_out.get(kind, 0) + 1


class Turn:
    """When the first message of the loop turn under way came, by `perf_counter`; 0 when none did yet."""

    __slots__ = ("began",)

    def __init__(self) -> None:
        self.began = 0.0


class Durations:
    """Counts durations below each of `BOUNDS`."""

    __slots__ = ("_counts", "total")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def cumulative(self) -> Iterator[tuple[str, float]]:
        """Give each bound with how many were not above it, as Prometheus wants them."""
        reached = 0
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self._counts, strict=True):
            reached += count
            yield bound, reached
