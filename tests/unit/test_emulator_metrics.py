from datetime import UTC, datetime

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from adr.audit import AuditKind, AuditTrail
from broker.gateway import Publish
from emulator.meter import Meter
from emulator.metrics import Metrics
from emulator.store import SqliteStore
from tests.doubles.gateway import StubGateway, StubSession

NOW = datetime(2026, 3, 1, tzinfo=UTC)

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Scraped:
    """An emulator's counters, and what Prometheus reads of them."""

    def __init__(self) -> None:
        self.meter = Meter()
        self.store = SqliteStore(":memory:")
        self.audit = AuditTrail(self.store)
        self.metrics = Metrics(self.meter, self.audit, self.store.size_bytes, lambda: NOW)

    def samples(self) -> Samples:
        text, content_type = self.metrics.render()
        assert content_type.startswith("text/plain")
        samples = [each for family in text_string_to_metric_families(text.decode()) for each in family.samples]
        return {(each.name, tuple(sorted(each.labels.items()))): each.value for each in samples}


@pytest.fixture
def scraped():
    scraped = Scraped()
    yield scraped
    scraped.store.close()


def test_connects_are_told_by_gateway_outcome_and_return_code(scraped):
    scraped.meter.gateway(StubGateway(), "hub1", "hub1/")
    counts = scraped.meter.counts()[0]
    counts.accepted = 3
    counts.refused(5, "expired")
    counts.refused(5, "revoked")
    samples = scraped.samples()
    labels = (("gateway", "hub1"), ("outcome", "accepted"), ("return_code", "0"))
    assert samples["hublet_connects_total", labels] == 3
    labels = (("gateway", "hub1"), ("outcome", "refused"), ("return_code", "5"))
    assert samples["hublet_connects_total", labels] == 2
    assert samples["hublet_refusals_total", (("gateway", "hub1"), ("reason", "expired"))] == 1


def test_reasons_are_added_up_over_return_codes(scraped):
    scraped.meter.unrouted.refused(5, "unknown_service")
    scraped.meter.unrouted.refused(4, "unknown_service")
    assert scraped.samples()["hublet_refusals_total", (("gateway", "none"), ("reason", "unknown_service"))] == 2


def test_connected_devices_are_a_gauge_by_gateway(scraped):
    gateway = scraped.meter.gateway(StubGateway(), "hub1", "hub1/")
    gateway.opened(StubSession("hub1/d1", "d1"), NOW)
    samples = scraped.samples()
    assert samples["hublet_connected_devices", (("gateway", "hub1"),)] == 1
    assert ("hublet_connected_devices", (("gateway", "none"),)) not in samples


def test_messages_are_told_by_direction_and_kind(scraped):
    gateway = scraped.meter.gateway(StubGateway(), "hub1", "hub1/")
    session = StubSession("hub1/d1", "d1")
    gateway.receive(session, "devices/d1/messages/events/", b"12345", 1, retain=False, dup=False, now=NOW)
    gateway.receive(session, "$iothub/twin/GET/?$rid=1", b"", 1, retain=False, dup=False, now=NOW)
    scraped.meter.sent(Publish("hub1/d1", "$iothub/twin/res/200/?$rid=1", b"{}"))
    samples = scraped.samples()
    for direction, kind in (("in", "telemetry"), ("in", "twin"), ("out", "twin")):
        labels = (("direction", direction), ("gateway", "hub1"), ("kind", kind))
        assert samples["hublet_messages_total", labels] == 1
    assert samples["hublet_telemetry_bytes_total", (("gateway", "hub1"),)] == 5


def test_registrations_and_certificates_are_there_before_the_first(scraped):
    samples = scraped.samples()
    assert samples["hublet_registrations_total", (("status", "assigned"),)] == 0
    assert samples["hublet_certificates_issued_total", (("via", "renewal"),)] == 0


def test_certificates_are_told_by_how_they_were_asked_for(scraped):
    scraped.audit.record(AuditKind.ISSUED, NOW)
    scraped.audit.record(AuditKind.RENEWED, NOW)
    scraped.audit.record(AuditKind.RENEWED, NOW)
    samples = scraped.samples()
    assert samples["hublet_certificates_issued_total", (("via", "registration"),)] == 1
    assert samples["hublet_certificates_issued_total", (("via", "renewal"),)] == 2
    assert samples["hublet_audit_events_total", (("kind", "renewed"),)] == 2


def test_commits_are_a_histogram(scraped):
    commit = scraped.meter.commit(lambda: None)
    commit()
    samples = scraped.samples()
    assert samples["hublet_commit_seconds_count", ()] == 1
    assert samples["hublet_commit_seconds_bucket", (("le", "+Inf"),)] == 1
    assert samples["hublet_answer_seconds_count", ()] == 0
    assert samples["hublet_failed_commits_total", ()] == 0


def test_state_clock_version_and_process_are_told(scraped):
    samples = scraped.samples()
    assert samples["hublet_store_bytes", ()] > 0
    assert samples["hublet_clock_timestamp_seconds", ()] == NOW.timestamp()
    assert [value for (name, _), value in samples.items() if name == "hublet_build_info"] == [1]
    assert samples["process_resident_memory_bytes", ()] > 0


def test_openmetrics_is_spoken_to_who_asks_for_it(scraped):
    text, content_type = scraped.metrics.render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert "hublet_connects" in {family.name for family in parse_openmetrics(text.decode())}
