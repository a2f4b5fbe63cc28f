from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from adr.store import Record
from emulator.store import SqliteStore
from hub.credential_operation import (
    TRANSITIONS,
    Operation,
    OperationEvent,
    OperationState,
    Result,
    deadline_key,
    format_operation,
    next_state,
    parse_operation,
)
from hub.credential_operations import CredentialOperations

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PENDING = Operation("dev1", "abcd", "c-1", NOW + 12 * HOUR, NOW + HOUR, b"csr")
COMPLETED = replace(PENDING, result=Result(200, b'{"certificates":[]}'))
OF_STATE = {OperationState.ABSENT: None, OperationState.PENDING: PENDING, OperationState.COMPLETED: COMPLETED}


@pytest.mark.parametrize("state", OperationState)
@pytest.mark.parametrize("event", OperationEvent)
def test_event_leads_where_the_table_says_or_is_refused(state: OperationState, event: OperationEvent) -> None:
    assert next_state(OF_STATE[state], event) is TRANSITIONS.get((state, event))


def test_only_a_second_request_without_replace_conflicts() -> None:
    requests = (OperationEvent.REQUEST, OperationEvent.REPLACE)
    refused = [(s, e) for s in OperationState for e in requests if next_state(OF_STATE[s], e) is None]
    assert refused == [(OperationState.PENDING, OperationEvent.REQUEST)]


def test_every_state_ends_in_absent() -> None:
    """Nothing is kept for ever: both states with a record expire."""
    for state in (OperationState.PENDING, OperationState.COMPLETED):
        assert TRANSITIONS[state, OperationEvent.EXPIRE] is OperationState.ABSENT


@pytest.mark.parametrize("operation", [PENDING, COMPLETED])
def test_operation_reads_back_from_its_record(operation: Operation) -> None:
    assert parse_operation(Record("dev1", format_operation(operation), 1)) == operation


def test_deadline_is_issuing_while_pending_and_expiry_after() -> None:
    assert PENDING.deadline == NOW + HOUR
    assert COMPLETED.deadline == NOW + 12 * HOUR
    assert replace(PENDING, due_at=NOW + 13 * HOUR).deadline == NOW + 12 * HOUR


def test_deadline_keys_sort_by_moment_then_device() -> None:
    keys = [
        deadline_key(replace(PENDING, device_id=device_id, due_at=NOW + offset))
        for offset in (timedelta(0), timedelta(microseconds=1), timedelta(seconds=1), HOUR)
        for device_id in ("a", "b")
    ]
    assert keys == sorted(keys)


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    with SqliteStore(":memory:") as store:
        yield store


@pytest.fixture
def operations(store: SqliteStore) -> CredentialOperations:
    return CredentialOperations(store, "hub1")


def test_stored_operation_is_due_from_its_deadline_on(operations: CredentialOperations) -> None:
    operations.put(PENDING, over=None)
    assert operations.get("dev1") == PENDING
    assert list(operations.due(NOW + HOUR - timedelta(microseconds=1), 10)) == []
    assert list(operations.due(NOW + HOUR, 10)) == [PENDING]


def test_put_over_another_moves_the_deadline(operations: CredentialOperations, store: SqliteStore) -> None:
    operations.put(PENDING, over=None)
    operations.put(COMPLETED, over=PENDING)
    assert [record.key for record in store.list("hub1.credential-deadlines")] == [deadline_key(COMPLETED)]
    assert list(operations.due(NOW + HOUR, 10)) == []
    assert list(operations.due(NOW + 12 * HOUR, 10)) == [COMPLETED]


def test_deleted_operation_is_never_due(operations: CredentialOperations, store: SqliteStore) -> None:
    operations.put(PENDING, over=None)
    operations.delete(PENDING)
    assert operations.get("dev1") is None
    assert store.list("hub1.credential-deadlines") == []


def test_due_operations_come_oldest_first_up_to_the_limit(operations: CredentialOperations) -> None:
    for n in (3, 1, 2):
        operations.put(replace(PENDING, device_id=f"dev{n}", due_at=NOW + n * HOUR), over=None)
    assert [found.device_id for found in operations.due(NOW + 9 * HOUR, 2)] == ["dev1", "dev2"]


def test_deadline_without_its_operation_is_dropped(operations: CredentialOperations, store: SqliteStore) -> None:
    operations.put(PENDING, over=None)
    store.delete("hub1.credentials", "dev1")
    operations.put(replace(PENDING, device_id="dev2"), over=None)
    assert [found.device_id for found in operations.due(NOW + HOUR, 10)] == ["dev2"]
    assert [record.key[-4:] for record in store.list("hub1.credential-deadlines")] == ["dev2"]


def test_deadline_of_an_earlier_operation_is_dropped(operations: CredentialOperations, store: SqliteStore) -> None:
    """As when a device was deleted and made anew with a request of its own."""
    operations.put(PENDING, over=None)
    later = replace(PENDING, due_at=NOW + 2 * HOUR)
    operations.put(later, over=None)
    assert list(operations.due(NOW + HOUR, 10)) == []
    assert [record.key for record in store.list("hub1.credential-deadlines")] == [deadline_key(later)]
