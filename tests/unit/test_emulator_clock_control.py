"""Changing the emulator's clock: what may be asked, that it lasts, and that all else follows after it is stored."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adr.audit import LIFECYCLE, AuditKind, AuditTrail
from adr.store import StoreError
from emulator.clock import Clock
from emulator.clock_control import ClockChangeRefused, ClockControl, parse_moment, read_clock, read_clock_file
from emulator.store import SqliteStore

START = datetime(2026, 11, 23, 10, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    with SqliteStore(":memory:") as store:
        yield store


@pytest.fixture
def clock() -> Clock:
    return Clock(lambda: START)


@pytest.fixture
def control(clock: Clock, store: SqliteStore) -> ClockControl:
    return ClockControl(clock, store, AuditTrail(store))


def test_description_tells_both_times(control: ClockControl) -> None:
    assert control.change({"advance": "30d"}) == {
        "now": "2026-12-23T10:00:00Z",
        "machine": "2026-11-23T10:00:00Z",
        "offsetSeconds": 2_592_000.0,
        "offset": "30d",
        "frozen": False,
    }


@pytest.mark.parametrize(
    ("requests", "now", "frozen"),
    [
        ([{"advance": "1w"}, {"advance": "2d"}], START + 9 * DAY, False),
        ([{"set": "2027-01-01T00:00:00Z"}], datetime(2027, 1, 1, tzinfo=UTC), False),
        ([{"set": "2027-01-01"}], datetime(2027, 1, 1, tzinfo=UTC), False),
        ([{"set": "2027-01-01T01:00:00+01:00"}], datetime(2027, 1, 1, tzinfo=UTC), False),
        ([{"freeze": True}], START, True),
        ([{"freeze": True}, {"advance": "1d"}, {"resume": True}], START + DAY, False),
        ([{"advance": "1d"}, {"freeze": True}, {"reset": True}], START, False),
    ],
)
def test_changes(control: ClockControl, clock: Clock, requests: list[Any], now: datetime, *, frozen: bool) -> None:
    for request in requests:
        answer = control.change(request)
    assert (clock.now(), clock.is_frozen) == (now, frozen)
    assert answer == control.describe()


@pytest.mark.parametrize(
    "request_body",
    [
        None, [], "advance", {}, {"jump": "1d"}, {"advance": "1d", "freeze": True}, {"advance": 5}, {"advance": "-1d"},
        {"advance": "9999999w"}, {"set": 0}, {"set": "tomorrow"}, {"set": "2027-01-01T00:00:00"},
        {"set": "1969-12-31T00:00:00Z"}, {"set": "0001-01-01T00:00:00+14:00"}, {"freeze": 1}, {"resume": False},
        {"reset": "yes"},
    ],
)  # fmt: skip
def test_anything_else_is_refused_and_changes_nothing(control: ClockControl, clock: Clock, request_body: Any) -> None:
    with pytest.raises(ClockChangeRefused):
        control.change(request_body)
    assert clock.now() == START


@pytest.mark.parametrize("request_body", [{"advance": "30d"}, {"freeze": True}])
def test_clock_stands_after_a_restart_as_it_stood(
    control: ClockControl, clock: Clock, store: SqliteStore, request_body: Any
) -> None:
    control.change(request_body)
    again = read_clock(store)
    assert again.state == clock.state


def test_frozen_clock_of_an_earlier_run_has_not_moved(store: SqliteStore) -> None:
    machine = [START]
    clock = Clock(lambda: machine[0])
    ClockControl(clock, store, AuditTrail(store)).change({"freeze": True})
    machine[0] += 5 * DAY
    assert read_clock(store).now() == START


def test_store_without_a_clock_gives_the_machines_time(store: SqliteStore) -> None:
    assert read_clock(store).offset == timedelta()


def test_commands_beside_the_process_read_the_clock_from_a_file(
    clock: Clock, store: SqliteStore, tmp_path: Path
) -> None:
    path = tmp_path / "clock.json"
    assert read_clock_file(path).offset == timedelta()
    control = ClockControl(clock, store, AuditTrail(store), file=path)
    control.change({"advance": "3d"})
    assert read_clock_file(path).offset == 3 * DAY


def test_everything_follows_after_the_change_is_stored(clock: Clock, store: SqliteStore) -> None:
    seen = []

    def follow(now: datetime) -> None:
        store.put("t", "undone", "1")  # what is not committed now would be lost by this
        record = store.get("emulator.clock", "clock")
        assert record is not None
        seen.append((now, json.loads(record.value)["offsetMicroseconds"]))

    ClockControl(clock, store, AuditTrail(store), follow=follow).change({"advance": "1d"})
    assert seen == [(START + DAY, 86_400_000_000)]


def test_change_that_cannot_be_stored_is_taken_back(
    control: ClockControl, clock: Clock, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise StoreError("disk full")

    monkeypatch.setattr(store, "commit", fail)
    with pytest.raises(StoreError):
        control.change({"advance": "1d"})
    assert clock.now() == START


def test_change_is_an_event(control: ClockControl, store: SqliteStore) -> None:
    control.change({"advance": "1w"})
    ((_, event),) = AuditTrail(store).read(LIFECYCLE)
    assert (event.kind, event.reason) == (AuditKind.CLOCK, "advanced by 7d to 2026-11-30T10:00:00Z")


def test_moment_may_be_a_date() -> None:
    assert parse_moment("2027-02-03") == datetime(2027, 2, 3, tzinfo=UTC)
