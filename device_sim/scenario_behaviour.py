"""What devices do after onboarding, as sections of a scenario."""

import string
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from device_sim.scenario_section import PositiveSeconds, Rate, Seconds, SecondsSpan, Section, Share

MAX_MESSAGE_BYTES = 262_144
TEMPLATE_FIELDS = ("number", "device_id", "message", "time", "random")


def _template(text: str) -> str:
    template = string.Template(text)
    if not template.is_valid():
        raise ValueError("must have $name or ${name} for what is filled in, and $$ for a dollar sign")
    unknown = sorted(set(template.get_identifiers()) - set(TEMPLATE_FIELDS))
    if unknown:
        raise ValueError(f"${unknown[0]} is not known: there is ${', $'.join(TEMPLATE_FIELDS)}")
    return text


class Telemetry(Section):
    """Messages to the hub: of `size_bytes`, or a `template` with names to be filled in.

    `$number` is the device's, as in its ID, `$device_id` its ID, `$message` counts its messages from 1, `$time` is
    the present in ISO 8601, `$random` a number from 0 to 1 with four decimals. `properties` are named as on the wire
    (`$.ct` is the content type). Without `messages_per_second` each message follows the acknowledgement of the one
    before; without `messages` it goes on until the run ends.
    """

    messages_per_second: Rate | None = None
    messages: Annotated[int, Field(ge=0)] | None = None
    size_bytes: Annotated[int, Field(ge=1, le=MAX_MESSAGE_BYTES)] = 64
    template: Annotated[str, Field(min_length=1, max_length=MAX_MESSAGE_BYTES), AfterValidator(_template)] | None = None
    properties: Mapping[str, str] = Field(default_factory=dict)
    qos: Annotated[int, Field(ge=0, le=1)] = 1

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.messages_per_second is None and self.messages is None:
            raise ValueError("needs messages_per_second, messages or both")
        return self


class Timing(StrEnum):
    """Whose clock a pattern follows: each device's own, or one moment for the whole fleet."""

    EACH = "each"
    TOGETHER = "together"


class Reconnect(Section):
    """Connections that devices end by themselves, and open again.

    `each`: `after_seconds` after a device's own onboarding, then `every_seconds`. `together`: so long after the last
    device was onboarded, all at one moment. `share` of the devices take part, `times` each (None: until the run
    ends). `via_dps` registers again before the hub; `abrupt` cuts the connection without DISCONNECT; `jitter` moves
    each moment of `each` by up to this part of the interval.
    """

    timing: Timing = Field(default=Timing.EACH, strict=False)
    after_seconds: Seconds = 60
    every_seconds: PositiveSeconds | None = None
    times: Annotated[int, Field(ge=1)] | None = 1
    share: Share = 1
    offline_seconds: SecondsSpan = (0, 0)
    jitter: Share = 0
    via_dps: bool = False
    abrupt: bool = False

    @model_validator(mode="after")
    def _repeats(self) -> Self:
        if self.times != 1 and self.every_seconds is None:
            raise ValueError("more than one time needs every_seconds")
        return self


class Renewal(Section):
    """When devices renew their certificates.

    `each`: at a `fraction` of the certificate's lifetime, or `after_seconds` after onboarding if that is given.
    `together`: `after_seconds` (0) after the last device was onboarded, all at one moment. `every_seconds` repeats
    it. `reconnect` connects with the new certificate at once.
    """

    timing: Timing = Field(default=Timing.EACH, strict=False)
    fraction: Annotated[float, Field(gt=0, lt=1)] = 0.8
    after_seconds: Seconds | None = None
    every_seconds: PositiveSeconds | None = None
    jitter: Share = 0
    reconnect: bool = True


class ThinkTimes(Section):
    """Pauses of a device: a number of seconds, or [least, most] to choose from evenly."""

    before_connect_seconds: SecondsSpan = (0, 0)
    before_telemetry_seconds: SecondsSpan = (0, 0)


class Behaviour(Section):
    """What a device does once it is onboarded; nothing of it: it stays connected, idle.

    `leave_when_done`: a device that has sent its `messages` disconnects instead of staying until the run ends.
    """

    telemetry: Telemetry | None = None
    twin_reports_per_minute: Annotated[float, Field(ge=0, le=60_000, allow_inf_nan=False)] = 0
    answer_methods: bool = False
    receive_c2d: bool = False
    reconnect: Reconnect | None = None
    renewal: Renewal | None = None
    think_times: ThinkTimes = Field(default_factory=ThinkTimes)
    leave_when_done: bool = False
