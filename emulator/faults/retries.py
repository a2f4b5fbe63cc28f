"""Watches whether devices come again when they were told to, and not earlier."""

from collections.abc import Callable
from typing import Any, Final

MAX_WAITING: Final = 100_000
MAX_KEPT: Final = 10_000


class RetryWatch:
    """Compares what devices were told with when they came.

    Args:
        clock: real seconds, as devices wait in real time.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._due: dict[tuple[str, str], float] = {}
        self._late: list[float] = []
        self.told = 0
        self.came = 0
        self.too_early = 0

    def tell(self, service: str, device_id: str, seconds: float) -> None:
        """Take note that a device was told to come again after so many seconds."""
        self.told += 1
        self._due[service, device_id] = self._clock() + seconds
        if len(self._due) > MAX_WAITING:
            del self._due[next(iter(self._due))]

    def come(self, service: str, device_id: str) -> float | None:
        """Take note that a device asks again; return by how many seconds it is late (early if negative)."""
        due = self._due.pop((service, device_id), None)
        if due is None:
            return None
        late = self._clock() - due
        self.came += 1
        self.too_early += late < 0
        if len(self._late) < MAX_KEPT:
            self._late.append(late)
        return late

    def describe(self) -> dict[str, Any]:
        """Tell how often devices came too early, and how their delays are spread."""
        late = sorted(self._late)
        spread = {"p10": _at(late, 0.1), "p50": _at(late, 0.5), "p90": _at(late, 0.9)} if late else None
        return {"told": self.told, "came": self.came, "tooEarly": self.too_early, "lateSeconds": spread}


def _at(values: list[float], quantile: float) -> float:
    return round(values[min(int(quantile * len(values)), len(values) - 1)], 4)
