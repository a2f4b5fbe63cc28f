"""The audit trail: two streams of bounded length."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from adr.audit import LIFECYCLE, MAX_NAME_CHARACTERS, MAX_REASON_CHARACTERS, REFUSALS, AuditEvent, AuditKind, AuditTrail
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
    trail.record(AuditKind.REFUSED, NOW, service="s" * 9999, device_id="ü" * 9999, reason="r" * 9999, source="x" * 9999)
    event = trail.read(REFUSALS)[0][1]
    assert (len(event.reason), len(event.device_id)) == (MAX_REASON_CHARACTERS, MAX_NAME_CHARACTERS)
    assert (len(event.service), len(event.source)) == (MAX_NAME_CHARACTERS, MAX_NAME_CHARACTERS)


def test_unpaired_surrogates_and_quotes_survive(store: SqliteStore) -> None:
    trail = AuditTrail(store)
    trail.record(AuditKind.REFUSED, NOW, device_id='a"\\\n\x00\ud800')
    store.commit()
    assert trail.read(REFUSALS)[0][1].device_id == 'a"\\\n\x00\ud800'
