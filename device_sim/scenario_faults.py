"""What goes wrong on the devices' side, as sections of a scenario, and which devices it happens to."""

import random
from typing import Annotated, Self

from pydantic import Field, model_validator

from device_sim.scenario_section import PositiveSeconds, Seconds, Section, Share


class WrongClock(Section):
    """Devices whose clock is so many seconds ahead, or behind if negative."""

    share: Share
    offset_seconds: Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]


class SlowNetwork(Section):
    """Devices whose packets arrive late, at a limited rate, or both; each way."""

    share: Share
    delay_seconds: Seconds = 0
    bytes_per_second: PositiveSeconds | None = None

    @model_validator(mode="after")
    def _slow(self) -> Self:
        if not self.delay_seconds and self.bytes_per_second is None:
            raise ValueError("needs delay_seconds, bytes_per_second or both")
        return self


class DeviceFaults(Section):
    """Shares (0 to 1) of the devices that something happens to.

    `power_loss`: once, after the certificate was received and before it was stored. `key_reuse`: its CSR carries the
    key of the fleet's first device.
    """

    power_loss: Share = 0
    key_reuse: Share = 0
    wrong_clock: WrongClock | None = None
    slow_network: SlowNetwork | None = None


def is_hit(fault: str, share: float, device: int, seed: int) -> bool:
    """Decide whether a fault happens to a device (counted from 0): always the same for one seed."""
    return random.Random(f"{seed}/{fault}/{device}").random() < share  # noqa: S311 - a choice, not a secret
