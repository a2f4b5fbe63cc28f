"""What the messages of a fleet say: a text of a size, or a template that is filled in for each message."""

from collections.abc import Callable
from datetime import datetime
from string import Template

from device_sim.scenario_behaviour import Telemetry

JSON_START, JSON_END = b'{"data": "', b'"}'


class Payloads:
    """Makes the messages of a scenario's devices.

    `now` is asked for `$time`, `chance` for `$random`: a number from 0 to 1 for a device's so-manieth message.
    """

    def __init__(self, telemetry: Telemetry, now: Callable[[], datetime], chance: Callable[[int, int], float]) -> None:
        self._template = Template(telemetry.template) if telemetry.template is not None else None
        self._fixed = of_size(telemetry.size_bytes)
        self._now = now
        self._chance = chance

    def message(self, device: int, device_id: str, number: int) -> bytes:
        """Make a device's message; messages are counted from 1, devices from 0."""
        if self._template is None:
            return self._fixed
        return self._template.substitute(
            number=device,
            device_id=device_id,
            message=number,
            time=f"{self._now():%Y-%m-%dT%H:%M:%S.%fZ}",
            random=f"{self._chance(device, number):.6f}",
        ).encode()


def of_size(size_bytes: int) -> bytes:
    """Make a text of so many bytes, JSON if there is room for it."""
    room = size_bytes - len(JSON_START) - len(JSON_END)
    return JSON_START + b"x" * room + JSON_END if room >= 0 else b"x" * size_bytes
