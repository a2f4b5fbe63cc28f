"""The audit trail: two streams of bounded length."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from adr.audit import LIFECYCLE, MAX_NAME_BYTES, MAX_REASON_BYTES, REFUSALS, AuditEvent, AuditKind, AuditTrail
from emulator.store import SqliteStore

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    with SqliteStore(":memory:") as store:
        yield store


def test_event_is_read_as_it_was_recorded(store: SqliteStore) -> None:
    trail = AuditTrail(store)
    trail.record(
        AuditKind.ISSUED, NOW, service="dps1", device_id="d", serial_number="ab", reason="why", source="192.0.2.1:1"
    )
    event = AuditEvent(NOW, AuditKind.ISSUED, "dps1", "d", "ab", "why", "192.0.2.1:1")
    assert trail.read(LIFECYCLE) == [(0, event)]
    assert trail.read(REFUSALS) == []


@pytest.mark.parametrize("kind", AuditKind)
def test_what_a_client_can_cause_at_will_has_a_stream_of_its_own(store: SqliteStore, kind: AuditKind) -> None:
    trail = AuditTrail(store)
    trail.record(kind, NOW)
    expected = REFUSALS if kind in {AuditKind.REFUSED, AuditKind.FAULT} else LIFECYCLE
    assert [event.kind for _, event in trail.read(expected)] == [kind]


def test_flood_of_refusals_keeps_the_newest_and_no_issuance_is_lost(store: SqliteStore) -> None:
    trail = AuditTrail(store, max_events=2000)
    trail.record(AuditKind.ISSUED, NOW, device_id="precious")
    for number in range(7001):
        trail.record(AuditKind.REFUSED, NOW, device_id=f"d{number}")
    kept = trail.read(REFUSALS, limit=10_000)
    assert len(kept) == 2001
    assert kept[0] == (5000, AuditEvent(NOW, AuditKind.REFUSED, device_id="d5000"))
    assert kept[-1][0] == 7000
    assert trail.read(LIFECYCLE)[0][1].device_id == "precious"


def test_sizes_are_bounded_whatever_a_client_sends(store: SqliteStore) -> None:
    trail = AuditTrail(store)
    trail.record(AuditKind.REFUSED, NOW, service="s" * 9999, device_id="d" * 9999, reason="r" * 9999, source="x" * 9999)
    event = trail.read(REFUSALS)[0][1]
    assert (len(event.reason), len(event.device_id)) == (MAX_REASON_BYTES, MAX_NAME_BYTES)
    assert (len(event.service), len(event.source)) == (MAX_NAME_BYTES, MAX_NAME_BYTES)


@pytest.mark.parametrize("text", ["ü", "\U0001f600", "\n", "\x01", '"', "\\", "\ud800"])
def test_characters_that_are_escaped_take_no_more_room(store: SqliteStore, text: str) -> None:
    """A stream is bounded in bytes: 200,000 refusals of emoji would have taken 2 GB."""
    trail = AuditTrail(store)
    long = text * 9999
    trail.record(AuditKind.REFUSED, NOW, service=long, device_id=long, serial_number=long, reason=long, source=long)
    (entry,) = store.read(REFUSALS, 0, 10)
    assert len(entry.header) < 2100
    event = trail.read(REFUSALS)[0][1]
    assert event.reason
    assert event.reason == text * len(event.reason)


def test_unpaired_surrogates_and_quotes_survive(store: SqliteStore) -> None:
    trail = AuditTrail(store)
    trail.record(AuditKind.REFUSED, NOW, device_id='a"\\\n\x00\ud800')
    store.commit()
    assert trail.read(REFUSALS)[0][1].device_id == 'a"\\\n\x00\ud800'
