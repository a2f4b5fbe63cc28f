"""What each device of a scenario is to do, and when: pure decisions, the same for one seed."""

from dataclasses import dataclass
from typing import Self

from device_sim.chance import between, fraction
from device_sim.retries import retry_wait
from device_sim.scenario import Scenario
from device_sim.scenario_behaviour import Behaviour, Reconnect, Renewal, Timing


@dataclass(frozen=True, slots=True)
class Decisions:
    """The decisions of a scenario; devices are counted from 0, occasions of one kind too."""

    scenario: Scenario
    is_open_ended: bool

    @classmethod
    def of(cls, scenario: Scenario) -> Self:
        """Decide for a scenario; `is_open_ended` tells whether devices have something to do that never ends."""
        return cls(scenario, has_no_end(scenario))

    @property
    def behaviour(self) -> Behaviour:
        """What devices do once they are onboarded."""
        return self.scenario.behaviour

    def chance(self, purpose: str, device: int, number: int = 0) -> float:
        """Give a number from 0 up to 1."""
        return fraction(self.scenario.seed, purpose, device, number)

    def pause_before_connect(self, device: int) -> float:
        """Give the seconds that a device lets pass between its assignment and its connection to the hub."""
        span = self.behaviour.think_times.before_connect_seconds
        return between(span, self.chance("before connect", device)) if any(span) else 0.0

    def pause_before_telemetry(self, device: int, connection: int) -> float:
        """Give the seconds from a connection to its first message; at a rate, devices are spread over an interval."""
        pause = between(
            self.behaviour.think_times.before_telemetry_seconds, self.chance("before telemetry", device, connection)
        )
        rate = self.behaviour.telemetry.messages_per_second if self.behaviour.telemetry is not None else None
        return pause + (self.chance("telemetry", device, connection) / rate if rate else 0)

    def pause_before_report(self, device: int, connection: int) -> float:
        """Give the seconds from a connection to its first twin report."""
        return self.chance("twin", device, connection) * 60 / self.behaviour.twin_reports_per_minute

    def reconnects(self, device: int) -> Reconnect | None:
        """Give the pattern if the device takes part in it."""
        pattern = self.behaviour.reconnect
        return pattern if pattern is not None and self.chance("reconnect share", device) < pattern.share else None

    def reconnect_delay(self, pattern: Reconnect, device: int, number: int) -> float | None:
        """Give the seconds before the so-manieth reconnect, from onboarding or from the one before; None: no more."""
        if pattern.times is not None and number >= pattern.times:
            return None
        interval = pattern.every_seconds if number else pattern.after_seconds
        assert interval is not None, "a pattern that repeats has an interval"
        if pattern.timing is Timing.TOGETHER:
            return interval
        return moved(interval, pattern.jitter, self.chance("reconnect", device, number))

    def offline_seconds(self, pattern: Reconnect, device: int, number: int) -> float:
        """Give the seconds that a device stays away."""
        return between(pattern.offline_seconds, self.chance("offline", device, number))

    def renewal_delay(self, renewal: Renewal, device: int, number: int, due_in_seconds: float) -> float | None:
        """Give the seconds before the so-manieth renewal; None: no more.

        Args:
            renewal: when devices renew.
            device: which one.
            number: how many renewals there were.
            due_in_seconds: when the fraction of the certificate's lifetime is over.
        """
        if number:
            delay = renewal.every_seconds
            if delay is None:
                return None
        elif renewal.after_seconds is not None:
            delay = renewal.after_seconds
        else:
            delay = 0.0 if renewal.timing is Timing.TOGETHER else max(due_in_seconds, 0.0)
        if renewal.timing is Timing.TOGETHER:
            return delay
        return moved(delay, renewal.jitter, self.chance("renewal", device, number))

    def retry_delay(self, device: int, attempt: int, total: int, retry_after_seconds: float = 0) -> float | None:
        """Give the seconds before a device tries again after so many failures in a row; None: never.

        `total` counts the device's failures, so that no two choose within the jitter alike.
        """
        return retry_wait(self.scenario.retry, attempt, self.chance("retry", device, total), retry_after_seconds)


def has_no_end(scenario: Scenario) -> bool:
    """Tell whether devices have something to do that never ends by itself.

    An idle fleet stays for as long as the scenario says; without a word of it, to be there was all.
    """
    behaviour = scenario.behaviour
    if behaviour.twin_reports_per_minute or behaviour.answer_methods or behaviour.receive_c2d:
        return True
    if behaviour.telemetry is not None and behaviour.telemetry.messages is None:
        return True
    if behaviour.renewal is not None and behaviour.renewal.every_seconds is not None:
        return True
    return behaviour == Behaviour() and (scenario.duration_seconds is not None or bool(scenario.stop_when))


def moved(interval: float, jitter: float, at: float) -> float:
    """Move an interval by up to this part of it, earlier or later, as a fraction from 0 to 1 decides."""
    return interval * (1 + jitter * (2 * at - 1))
