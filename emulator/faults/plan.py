"""Decides when faults strike: the same seed and the same occurrences give the same decisions."""

import hashlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from emulator.faults.fault import Fault, Occurrence, Operation

_SCALE: Final = 2.0**-64
# Clients choose their names: how many devices' occurrences are counted for each fault at most.
MAX_DEVICES: Final = 100_000
MAX_INJECTED: Final = 1_000


@dataclass(frozen=True, slots=True)
class Injected:
    """One fault that struck; `name` is the fault's."""

    time: datetime
    name: str
    fault: Fault
    occurrence: Occurrence


class _Planned:
    """A fault with what has been counted for it."""

    __slots__ = ("counts", "fault", "name", "struck")

    def __init__(self, name: str, fault: Fault) -> None:
        self.name = name
        self.fault = fault
        self.struck = 0
        self.counts: dict[tuple[str, Operation], int] = {}

    def strikes(self, occurrence: Occurrence) -> bool:
        """Count an occurrence that matches, and decide on it.

        A device's decisions depend on nothing but the fault, its own ID and how many occurrences it had: how a fleet's
        packets interleave does not matter.
        """
        fault = self.fault
        key = (occurrence.device_id, occurrence.operation)
        number = self.counts.get(key, 0) + 1
        self.counts[key] = number
        if len(self.counts) > MAX_DEVICES:
            del self.counts[next(iter(self.counts))]
        if fault.limit is not None and self.struck >= fault.limit:
            return False
        if fault.nth is not None:
            return number == fault.nth
        return fault.probability >= 1 or _fraction(fault.seed, self.name, *key, number) < fault.probability


class FaultPlan:
    """The faults that are set, in order: the first that strikes an occurrence is the one that happens to it."""

    def __init__(self, faults: Mapping[str, Fault]) -> None:
        self._recent: deque[Injected] = deque(maxlen=MAX_INJECTED)
        self._planned: dict[str, _Planned] = {}
        self._by_operation: dict[Operation, tuple[_Planned, ...]] = {}
        self.set(faults)

    def decide(self, occurrence: Occurrence, now: datetime) -> Injected | None:
        """Say what happens to an occurrence, None for nothing; every matching fault counts it."""
        chosen: _Planned | None = None
        for planned in self._by_operation.get(occurrence.operation, ()):
            if planned.fault.matches(occurrence) and planned.strikes(occurrence) and chosen is None:
                chosen = planned
        if chosen is None:
            return None
        chosen.struck += 1
        injected = Injected(now, chosen.name, chosen.fault, occurrence)
        self._recent.append(injected)
        return injected

    def set(self, faults: Mapping[str, Fault]) -> None:
        """Set these faults and no others; all counts begin anew."""
        self._planned = {name: _Planned(name, fault) for name, fault in faults.items()}
        self._arrange()

    def add(self, name: str, fault: Fault) -> None:
        """Set another fault; one of the same name goes, with its counts."""
        self._planned[name] = _Planned(name, fault)
        self._arrange()

    def remove(self, name: str) -> bool:
        """Unset a fault; False if there is none of this name."""
        found = self._planned.pop(name, None) is not None
        self._arrange()
        return found

    def faults(self) -> Sequence[tuple[str, Fault, int]]:
        """List the faults by name, each with how often it struck."""
        return [(each.name, each.fault, each.struck) for each in self._planned.values()]

    def concerns(self, *operations: Operation) -> bool:
        """Tell whether a fault is set for any of these operations."""
        return any(operation in self._by_operation for operation in operations)

    @property
    def asks_for_enrollment(self) -> bool:
        """Tell whether a fault depends on the enrollment."""
        return any(each.fault.enrollment != "*" for each in self._planned.values())

    @property
    def asks_for_hub(self) -> bool:
        """Tell whether a fault depends on the hub that a registration would be assigned to."""
        return any(each.fault.asks_for_hub for each in self._planned.values())

    @property
    def recent(self) -> Sequence[Injected]:
        """The last faults that struck, oldest first."""
        return tuple(self._recent)

    def _arrange(self) -> None:
        self._by_operation = {}
        for planned in self._planned.values():
            for operation in planned.fault.operations:
                self._by_operation[operation] = (*self._by_operation.get(operation, ()), planned)


def _fraction(seed: int, name: str, device_id: str, operation: Operation, number: int) -> float:
    """Give a number from 0 up to, not including, 1."""
    text = f"{seed}/{name}/{device_id}/{operation}/{number}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) * _SCALE
