"""A clock that devices share with an emulator."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from device_sim.shared_clock import ClockUnreachable, SharedClock

MACHINE = datetime(2026, 11, 23, 10, tzinfo=UTC)
DAY = timedelta(days=1)


class Emulator:
    """Answers as `GET /clock` does; it may run on another machine, whose time is a minute off."""

    def __init__(self) -> None:
        self.now = self.machine = MACHINE + timedelta(minutes=1)
        self.frozen = False
        self.is_gone = False
        self.reads = 0

    def read(self, url: str) -> bytes:
        self.reads += 1
        if self.is_gone:
            raise ConnectionRefusedError(url)
        state = {"now": self.now.isoformat(), "machine": self.machine.isoformat(), "frozen": self.frozen}
        return json.dumps(state).encode()


@pytest.fixture
def emulator() -> Emulator:
    return Emulator()


def shared(emulator: Emulator) -> SharedClock:
    return SharedClock("http://emulator/clock", machine_now=lambda: MACHINE, read=emulator.read)


def test_untouched_clock_is_the_machines_own(emulator: Emulator) -> None:
    clock = shared(emulator)
    clock.refresh()
    assert clock.now() == MACHINE


def test_clock_is_moved_by_as_much_as_the_emulators(emulator: Emulator) -> None:
    clock = shared(emulator)
    emulator.now += 30 * DAY
    clock.refresh()
    assert clock.now() == MACHINE + 30 * DAY


def test_being_moved_stopped_or_set_going_is_noticed_once(emulator: Emulator) -> None:
    clock = shared(emulator)
    assert not clock.refresh()
    for change in ({"now": emulator.now + DAY}, {"frozen": True}, {"now": emulator.now + 2 * DAY}, {"frozen": False}):
        for name, value in change.items():
            setattr(emulator, name, value)
        assert clock.refresh()
        assert not clock.refresh()


def test_small_difference_is_no_move(emulator: Emulator) -> None:
    clock = shared(emulator)
    emulator.now += timedelta(milliseconds=5)
    assert not clock.refresh()


def test_frozen_clock_stands_where_the_emulators_does(emulator: Emulator) -> None:
    clock = shared(emulator)
    emulator.frozen = True
    clock.refresh()
    assert clock.now() == emulator.now


def test_lost_emulator_leaves_the_clock_as_it_was(emulator: Emulator) -> None:
    clock = shared(emulator)
    emulator.now += DAY
    clock.refresh()
    emulator.is_gone = True
    with pytest.raises(ClockUnreachable, match="http://emulator/clock"):
        clock.refresh()
    assert clock.now() == MACHINE + DAY


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"now": 1, "machine": 2, "frozen": false}', b'{"now": "x"}'])
def test_answer_of_something_else_is_refused(body: bytes) -> None:
    with pytest.raises(ClockUnreachable):
        SharedClock("http://other/clock", read=lambda _: body).refresh()


def test_other_schemes_are_not_read() -> None:
    with pytest.raises(ClockUnreachable, match="begins with"):
        SharedClock("file:///etc/passwd").refresh()


async def test_clock_is_followed_while_the_block_runs(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    clock = shared(emulator)
    moves: list[datetime] = []
    async with clock.following(poll_seconds=0.001, moved=lambda: moves.append(clock.now())):
        emulator.now += 5 * DAY
        await _until(lambda: moves == [MACHINE + 5 * DAY])
        emulator.is_gone = True
        before = emulator.reads
        await _until(lambda: emulator.reads > before + 3)
        assert len(caplog.records) == 1, "said once, not at every attempt"
        emulator.is_gone = False
        emulator.now += DAY
        await _until(lambda: clock.now() == MACHINE + 6 * DAY)
    before = emulator.reads
    await asyncio.sleep(0.01)
    assert emulator.reads == before


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_so():  # noqa: ASYNC110 - the clock has no event to wait for
            await asyncio.sleep(0)
