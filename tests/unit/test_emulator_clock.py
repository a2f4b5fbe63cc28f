from datetime import UTC, datetime, timedelta, timezone

import pytest

from emulator.clock import LATEST, Clock, system_now

START = datetime(2026, 11, 23, 10, 0, 0, 123456, tzinfo=UTC)


class Machine:
    """A machine's clock under the test's control."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time

    def pass_seconds(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def clock(machine: Machine) -> Clock:
    return Clock(machine)


def test_untouched_clock_is_the_machines_time(clock: Clock, machine: Machine) -> None:
    machine.pass_seconds(5)
    assert clock.now() == START + timedelta(seconds=5)
    assert clock.offset == timedelta()


def test_default_source_is_aware_utc() -> None:
    before = system_now()
    assert before <= Clock().now() <= system_now()
    assert before.utcoffset() == timedelta()


def test_advanced_clock_runs_on_from_there(clock: Clock, machine: Machine) -> None:
    clock.advance(timedelta(days=30))
    clock.advance(timedelta(hours=1))
    machine.pass_seconds(2)
    assert clock.now() == START + timedelta(days=30, hours=1, seconds=2)
    assert clock.offset == timedelta(days=30, hours=1)


def test_frozen_clock_stands_still_until_resumed(clock: Clock, machine: Machine) -> None:
    clock.freeze()
    machine.pass_seconds(60)
    assert clock.is_frozen
    assert clock.now() == START
    clock.resume()
    machine.pass_seconds(1)
    assert clock.now() == START + timedelta(seconds=1)


def test_frozen_clock_moves_when_told_and_stays_frozen(clock: Clock, machine: Machine) -> None:
    clock.freeze()
    clock.advance(timedelta(days=1))
    machine.pass_seconds(60)
    assert clock.is_frozen
    assert clock.now() == START + timedelta(days=1)


def test_resume_of_a_running_clock_changes_nothing(clock: Clock, machine: Machine) -> None:
    clock.advance(timedelta(days=1))
    clock.resume()
    assert clock.now() == START + timedelta(days=1)


def test_clock_can_be_set_back(clock: Clock) -> None:
    clock.set(datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))))
    assert clock.now() == datetime(2026, 1, 1, tzinfo=UTC)
    assert clock.now().tzinfo is UTC


def test_reset_returns_to_the_machines_time(clock: Clock, machine: Machine) -> None:
    clock.advance(timedelta(days=1))
    clock.freeze()
    clock.reset()
    assert clock.now() == machine.time
    assert not clock.is_frozen


def test_moment_without_time_zone_is_refused(clock: Clock) -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        clock.set(datetime(2026, 1, 1))  # noqa: DTZ001
    assert clock.now() == START


@pytest.mark.parametrize("year", [1969, 9901])
def test_moment_outside_the_range_is_refused(clock: Clock, year: int) -> None:
    with pytest.raises(ValueError, match="is not between 1970 and 9900"):
        clock.set(datetime(year, 6, 1, tzinfo=UTC))


def test_advance_backwards_is_refused(clock: Clock) -> None:
    with pytest.raises(ValueError, match="cannot advance by -1 day"):
        clock.advance(timedelta(days=-1))


def test_advance_beyond_the_range_is_refused(clock: Clock) -> None:
    with pytest.raises(ValueError, match="leads beyond 9900"):
        clock.advance(LATEST - START + timedelta(seconds=1))
    assert clock.now() == START
