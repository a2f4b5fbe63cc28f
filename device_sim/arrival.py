"""When the devices of a fleet mean to begin: at once, at a constant rate, on a ramp, or in waves.

Open loop: the moments come from the scenario, whatever the services do, so a slow service does not slow its own load.
"""

import math
from collections.abc import Iterator
from itertools import repeat
from typing import Annotated, Literal

from pydantic import Field

from device_sim.scenario_section import Count, PositiveSeconds, Rate, Section


class AtOnce(Section):
    """Every device at the start."""

    kind: Literal["at-once"] = "at-once"

    def offsets(self, devices: int) -> Iterator[float]:
        """Give the moment of each device, in seconds from the start, in order."""
        return repeat(0.0, devices)


class ConstantRate(Section):
    """So many devices a second, evenly spaced."""

    kind: Literal["rate"]
    per_second: Rate

    def offsets(self, devices: int) -> Iterator[float]:
        """Give the moment of each device, in seconds from the start, in order."""
        return (number / self.per_second for number in range(devices))


class Ramp(Section):
    """A rate that changes evenly over `seconds`, and then stays."""

    kind: Literal["ramp"]
    from_per_second: Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)] = 0
    to_per_second: Rate
    seconds: PositiveSeconds

    def offsets(self, devices: int) -> Iterator[float]:
        """Give the moment of each device, in seconds from the start, in order."""
        on_the_ramp = (self.from_per_second + self.to_per_second) / 2 * self.seconds
        for number in range(devices):
            if number < on_the_ramp:
                yield self._reached(number)
            else:
                yield self.seconds + (number - on_the_ramp) / self.to_per_second

    def _reached(self, number: int) -> float:
        """Solve `from * t + growth * t² / 2 = number`, in the form that does not divide by a growth of 0."""
        growth = (self.to_per_second - self.from_per_second) / self.seconds
        root = math.sqrt(max(self.from_per_second**2 + 2 * growth * number, 0.0))
        return 2 * number / (self.from_per_second + root) if number else 0.0


class Waves(Section):
    """Groups of `size` devices at once, `every_seconds`."""

    kind: Literal["waves"]
    size: Count
    every_seconds: PositiveSeconds

    def offsets(self, devices: int) -> Iterator[float]:
        """Give the moment of each device, in seconds from the start, in order."""
        return (number // self.size * self.every_seconds for number in range(devices))


Arrival = Annotated[AtOnce | ConstantRate | Ramp | Waves, Field(discriminator="kind")]
