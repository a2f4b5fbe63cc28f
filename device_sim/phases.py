"""The steps of a device's way, and how long each took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
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
    """A stopwatch for one device: seconds for each phase it went through, of the last time it did."""

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds: dict[Phase, float] = {}

    @contextmanager
    def measure(self, phase: Phase) -> Iterator[None]:
        """Time a block; a block that fails is not counted."""
        started = time.perf_counter()
        yield
        self.seconds[phase] = time.perf_counter() - started
