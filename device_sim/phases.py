"""The steps of a device's way, and how long each took."""

import time
from collections.abc import Callable
from enum import StrEnum


class Phase(StrEnum):
    """A step of a device's way, in the order in which they come."""

    DPS_TLS = "DPS TCP and TLS"
    DPS_CONNACK = "DPS CONNACK"
    DPS_SUBACK = "DPS SUBACK"
    REGISTER = "register"
    POLLS = "polls until assigned"
    HUB_TLS = "hub TCP and TLS"
    HUB_CONNACK = "hub CONNACK"
    FIRST_PUBACK = "first PUBACK"
    RENEWAL = "renewal"


class Phases:
    """A stopwatch for one device: seconds for each phase it went through, of the last time it did.

    `current` is the phase it is in, or the one in which it failed. `observe` hears of every phase that is over.
    """

    __slots__ = ("_observe", "current", "seconds")

    def __init__(self, observe: Callable[[Phase, float], None] | None = None) -> None:
        self.seconds: dict[Phase, float] = {}
        self.current: Phase | None = None
        self._observe = observe

    def measure(self, phase: Phase) -> "Stopwatch":
        """Time a block; a block that fails is not counted."""
        return Stopwatch(self, phase)

    def over(self, phase: Phase, seconds: float) -> None:
        """Take note of a phase and of how long it took."""
        self.current = None
        self.seconds[phase] = seconds
        if self._observe is not None:
            self._observe(phase, seconds)


class Stopwatch:
    """The time that a `with` block takes."""

    __slots__ = ("_phase", "_phases", "_started")

    def __init__(self, phases: Phases, phase: Phase) -> None:
        self._phases = phases
        self._phase = phase
        self._started = 0.0

    def __enter__(self) -> None:
        self._phases.current = self._phase
        self._started = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._phases.over(self._phase, time.perf_counter() - self._started)
