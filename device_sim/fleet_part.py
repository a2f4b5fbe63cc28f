"""A fleet divided among processes: which devices are one's own, and what the scenario is for them."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from device_sim.scenario import Scenario

# What may differ between the machines of one fleet: where files are, and what only the whole is held against.
OF_THE_MACHINE = frozenset({"credential", "keys", "description", "thresholds"})


class Offsets(Protocol):
    """What an arrival is to the engine."""

    def offsets(self, devices: int) -> Iterator[float]:
        """Give the moment of each device, in seconds from the start, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Turns:
    """Every `workers`-th moment of a whole fleet's arrival: together the parts come when the whole would."""

    whole: Offsets
    devices: int
    index: int
    workers: int

    def offsets(self, devices: int) -> Iterator[float]:
        """Give the moments of so many devices of this part."""
        return islice(self.whole.offsets(self.devices), self.index, self.index + devices * self.workers, self.workers)


@dataclass(frozen=True, slots=True)
class FleetPart:
    """The part of worker `index`, counted from 0, of so many workers; devices of a part are neighbours."""

    index: int
    workers: int

    def devices(self, total: int) -> int:
        """Tell how many devices of a fleet are in this part: no two parts differ by more than one."""
        return total // self.workers + (self.index < total % self.workers)

    def first_device(self, total: int) -> int:
        """Number this part's first device, counted from 0."""
        return self.index * (total // self.workers) + min(self.index, total % self.workers)

    def scenario(self, whole: Scenario) -> Scenario:
        """Give the scenario of this part: its devices, its turns of the arrival, its share of the concurrency.

        Conditions to stop and thresholds are for the whole, and not in it.
        """
        arrival = Turns(whole.arrival, whole.devices, self.index, self.workers)
        return whole.model_copy(
            update={
                "devices": self.devices(whole.devices),
                "arrival": arrival,
                "concurrency": None if whole.concurrency is None else max(self.devices(whole.concurrency), 1),
                "stop_when": (),
                "thresholds": (),
            }
        )


def fingerprint(scenario: Scenario) -> str:
    """Tell scenarios apart that would make different fleets; paths and thresholds do not count."""
    members = scenario.model_dump(mode="json", exclude=set(OF_THE_MACHINE))
    return hashlib.sha256(json.dumps(members, sort_keys=True).encode()).hexdigest()[:16]
