"""The stored operations: what is due, and what has expired."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from dps.api_version import parse_api_version
from dps.operation import Operation, PendingRequest, format_operation_id
from dps.operations import PRUNED_AT_ONCE, Operations
from dps.registration import Registration
from dps.request import RegisterRequest
from emulator.store import SqliteStore

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
REGISTRATION = Registration(registration_id="sensor-001", created_at=NOW, last_updated_at=NOW)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


@pytest.fixture
def operations() -> Iterator[Operations]:
    with SqliteStore(":memory:") as store:
        yield Operations(store, "0ne0")


def operation(age: timedelta = timedelta(0), number: int = 0) -> Operation:
    return Operation(format_operation_id(NOW - age, UUID(int=number)), REGISTRATION)


def pending(due_at: datetime, age: timedelta = timedelta(0), number: int = 0) -> Operation:
    version = parse_api_version("2019-03-31")
    request = PendingRequest(RegisterRequest(), version, "factory", True, "sensor-001", due_at)
    return replace(operation(age, number), pending=request)


def test_operation_is_found_by_its_id(operations: Operations) -> None:
    operations.put(operation())
    assert operations.get(operation().operation_id) == operation()
    assert operations.get("5.0.x") is None


def test_due_operations_come_oldest_first_until_one_is_not_due(operations: Operations) -> None:
    newer, older, later = pending(NOW), pending(NOW - SECOND, SECOND), pending(NOW + SECOND, -SECOND)
    for each in (newer, later, older):
        operations.put(each)
    assert list(operations.due(NOW)) == [older, newer]


def test_all_due_operations_are_found_however_many(operations: Operations) -> None:
    count = 2_001
    for number in range(count):
        operations.put(pending(NOW, number=number))
    found = 0
    for each in operations.due(NOW):
        operations.finish(replace(each, pending=None))
        found += 1
    assert found == count
    assert list(operations.due(NOW)) == []


def test_finished_operation_is_no_longer_due(operations: Operations) -> None:
    operations.put(pending(NOW))
    operations.finish(operation())
    assert list(operations.due(NOW)) == []
    assert operations.get(operation().operation_id) == operation()


def test_operations_expire_after_their_lifetime(operations: Operations) -> None:
    old, young = operation(HOUR + timedelta(microseconds=1)), operation(HOUR, 1)
    operations.put(old)
    operations.put(young)
    assert operations.prune(NOW, HOUR) == 1
    assert operations.get(old.operation_id) is None
    assert operations.get(young.operation_id) == young
    assert operations.prune(NOW, HOUR) == 0


def test_pending_operation_does_not_expire(operations: Operations) -> None:
    stuck = pending(NOW + SECOND, HOUR)
    operations.put(stuck)
    operations.put(operation(HOUR, 1))
    assert operations.prune(NOW + HOUR, HOUR) == 1
    assert operations.get(stuck.operation_id) == stuck


def test_pruning_is_bounded(operations: Operations) -> None:
    for number in range(PRUNED_AT_ONCE + 1):
        operations.put(operation(HOUR, number))
    assert operations.prune(NOW + HOUR, HOUR) == PRUNED_AT_ONCE
    assert operations.prune(NOW + HOUR, HOUR) == 1
    assert operations.prune(NOW + HOUR, HOUR) == 0
