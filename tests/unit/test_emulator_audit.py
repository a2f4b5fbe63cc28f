"""What of the audit trail is shown, and what the front door puts into it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adr.audit import LIFECYCLE, REFUSALS, AuditKind, AuditTrail
from broker.gateway import ConnectRequest, ConnectReturnCode, Refusal
from certs.peer import PeerChain
from emulator.audit import read_audit
from emulator.connection_audit import ConnectionAudit
from emulator.store import SqliteStore

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
REFUSED = Refusal(ConnectReturnCode.NOT_AUTHORIZED, "certificate expired")


@pytest.fixture
def trail() -> Iterator[AuditTrail]:
    with SqliteStore(":memory:") as store:
        yield AuditTrail(store)


def kinds(trail: AuditTrail, **options: Any) -> list[str]:
    return [event["kind"] for event in read_audit(trail, {}, **options).events]


def test_both_streams_come_in_the_order_of_time(trail: AuditTrail) -> None:
    for minute, kind in enumerate([AuditKind.ISSUED, AuditKind.REFUSED, AuditKind.RENEWED, AuditKind.REFUSED]):
        trail.record(kind, NOW + minute * MINUTE)
    assert kinds(trail) == ["issued", "refused", "renewed", "refused"]


def test_clock_that_is_set_back_does_not_shuffle_a_stream(trail: AuditTrail) -> None:
    trail.record(AuditKind.CLOCK, NOW + 60 * MINUTE)
    trail.record(AuditKind.ISSUED, NOW)
    trail.record(AuditKind.REFUSED, NOW + MINUTE)
    assert kinds(trail) == ["refused", "clock", "issued"]


def test_device_and_kind_are_selected(trail: AuditTrail) -> None:
    trail.record(AuditKind.ISSUED, NOW, device_id="a")
    trail.record(AuditKind.RENEWED, NOW, device_id="a")
    trail.record(AuditKind.RENEWED, NOW, device_id="b")
    assert kinds(trail, device_id="a") == ["issued", "renewed"]
    assert kinds(trail, kinds={AuditKind.RENEWED}) == ["renewed", "renewed"]
    assert kinds(trail, device_id="b", kinds={AuditKind.ISSUED}) == []


def test_reader_goes_on_where_it_was(trail: AuditTrail) -> None:
    trail.record(AuditKind.ISSUED, NOW)
    first = read_audit(trail, {})
    assert first.positions == {LIFECYCLE: 1, REFUSALS: 0}
    trail.record(AuditKind.REFUSED, NOW)
    second = read_audit(trail, first.positions)
    assert [event["id"] for event in second.events] == ["refusals/0"]
    assert read_audit(trail, second.positions).positions == second.positions


def test_event_leaves_out_what_it_has_not(trail: AuditTrail) -> None:
    trail.record(AuditKind.ISSUED, NOW, device_id="a")
    assert read_audit(trail, {}).events == (
        {"id": "lifecycle/0", "time": "2026-11-23T12:00:00Z", "kind": "issued", "deviceId": "a"},
    )


def request(user_name: str, chain: PeerChain = PeerChain()) -> ConnectRequest:  # noqa: B008 - a frozen value
    return ConnectRequest("dev1", user_name, None, True, 60, None, chain, "192.0.2.1:50000")


@pytest.mark.parametrize(
    ("user_name", "service"),
    [
        ("hub1.example/dev1/?api-version=x", "hub1"),
        ("HUB1.example:8883/dev1/?api-version=x", "hub1"),
        ("0ne00ABCDEF/registrations/dev1/api-version=x", "dps1"),
        ("stranger.example/dev1", None),
        ("", None),
    ],
)
def test_refused_connect_names_its_service(trail: AuditTrail, user_name: str, service: str | None) -> None:
    observer = ConnectionAudit(trail, {"hub1.example": "hub1", "0ne00abcdef": "dps1"})
    observer.refused(request(user_name), REFUSED, NOW)
    (event,) = read_audit(trail, {}).events
    assert (event.get("service"), event["deviceId"], event["source"]) == (service, "dev1", "192.0.2.1:50000")
    assert event["reason"] == "certificate expired"


def test_refused_connect_with_a_broken_certificate_is_noted_too(trail: AuditTrail) -> None:
    ConnectionAudit(trail, {}).refused(request("h/d", PeerChain((b"\x30\x00",))), REFUSED, NOW)
    (event,) = read_audit(trail, {}).events
    assert "serialNumber" not in event


class Session:
    key, device_id, session_present, expires_at = "dps/0ne00ABCDEF/dev1", "dev1", False, NOW


def test_expired_connection_is_noted(trail: AuditTrail) -> None:
    ConnectionAudit(trail, {"0ne00abcdef": "dps1"}).expired(Session(), "192.0.2.1:1", NOW)
    (event,) = read_audit(trail, {}).events
    assert (event["kind"], event["service"], event["deviceId"]) == ("expired", "dps1", "dev1")
    assert event["reason"].endswith("expired at 2026-11-23T12:00:00Z")
