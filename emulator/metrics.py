"""The emulator's metrics for Prometheus: what the meter counted, as metric families at the moment of a scrape."""

from collections.abc import Callable, Iterator
from datetime import datetime
from importlib.metadata import version
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from adr.audit import AuditKind, AuditTrail
from emulator.gateway_counts import Durations, GatewayCounts
from emulator.meter import Meter

# How a certificate that the audit trail knows of was asked for.
ISSUED_VIA: Final = {AuditKind.ISSUED: "registration", AuditKind.RENEWED: "renewal"}
ACCEPTED_CODE: Final = "0"


class Metrics:
    """Renders the metrics.

    Args:
        meter: what was counted at the edges.
        audit: what happened to credentials.
        store_bytes: tells how large the state is.
        now: the emulator's clock.
    """

    def __init__(
        self, meter: Meter, audit: AuditTrail, store_bytes: Callable[[], int], now: Callable[[], datetime]
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(MeterCollector(meter))
        self._registry.register(StateCollector(audit, store_bytes, now))
        ProcessCollector(registry=self._registry)

    def routes(self) -> tuple[web.RouteDef, ...]:
        """Give the route for the control API."""
        return (web.get("/metrics", self._get_metrics),)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Give the text and its content type, in the format that an Accept header asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    async def _get_metrics(self, request: web.Request) -> web.Response:
        text, content_type = self.render(request.headers.get("Accept", ""))
        return web.Response(body=text, headers={"Content-Type": content_type})


class MeterCollector(Collector):
    """Gives the meter's counters."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def collect(self) -> Iterator[Metric]:
        """Give the present values."""
        meter, counts = self._meter, self._meter.counts()
        yield _connects(counts)
        yield _refusals(counts)
        yield _connected(counts)
        yield _messages(counts)
        yield _telemetry_bytes(counts)
        registrations = CounterMetricFamily(
            "hublet_registrations", "Registrations by the outcome that the device was told.", labels=["status"]
        )
        for status, count in meter.registrations.items():
            registrations.add_metric([status], count)
        yield registrations
        yield _durations("hublet_commit_seconds", "Commits of the store.", meter.commits)
        yield _durations(
            "hublet_answer_seconds",
            "From a loop turn's first message to its PUBACK.",
            meter.answers,
        )
        yield CounterMetricFamily(
            "hublet_failed_commits", "Commits that failed: whoever waited was dropped.", value=meter.failed_commits
        )


class StateCollector(Collector):
    """Gives what the state and the audit trail tell."""

    def __init__(self, audit: AuditTrail, store_bytes: Callable[[], int], now: Callable[[], datetime]) -> None:
        self._audit = audit
        self._store_bytes = store_bytes
        self._now = now

    def collect(self) -> Iterator[Metric]:
        """Give the present values."""
        issued = CounterMetricFamily(
            "hublet_certificates_issued", "Operational certificates, by how they were asked for.", labels=["via"]
        )
        events = CounterMetricFamily("hublet_audit_events", "Events of the audit trail.", labels=["kind"])
        for kind, count in self._audit.recorded.items():
            events.add_metric([kind.value], count)
            if kind in ISSUED_VIA:
                issued.add_metric([ISSUED_VIA[kind]], count)
        yield issued
        yield events
        yield GaugeMetricFamily("hublet_store_bytes", "Size of the state's database.", value=self._store_bytes())
        yield GaugeMetricFamily(
            "hublet_clock_timestamp_seconds", "The emulator's time, as Unix time.", value=self._now().timestamp()
        )
        yield InfoMetricFamily("hublet_build", "What runs.", value={"version": version("hublet")})


def _connects(counts: list[GatewayCounts]) -> Metric:
    family = CounterMetricFamily("hublet_connects", "CONNECTs answered.", labels=["gateway", "outcome", "return_code"])
    for each in counts:
        if each.accepted:
            family.add_metric([each.gateway, "accepted", ACCEPTED_CODE], each.accepted)
        refused: dict[int, int] = {}
        for (return_code, _), count in each.refusals.items():
            refused[return_code] = refused.get(return_code, 0) + count
        for return_code, count in refused.items():
            family.add_metric([each.gateway, "refused", str(int(return_code))], count)
    return family


def _refusals(counts: list[GatewayCounts]) -> Metric:
    family = CounterMetricFamily("hublet_refusals", "Refused CONNECTs by kind.", labels=["gateway", "reason"])
    for each in counts:
        reasons: dict[str, int] = {}
        for (_, reason), count in each.refusals.items():
            reasons[reason] = reasons.get(reason, 0) + count
        for reason, count in reasons.items():
            family.add_metric([each.gateway, reason], count)
    return family


def _connected(counts: list[GatewayCounts]) -> Metric:
    family = GaugeMetricFamily("hublet_connected_devices", "Connections past CONNACK.", labels=["gateway"])
    for each in counts[:-1]:
        family.add_metric([each.gateway], each.connected)
    return family


def _messages(counts: list[GatewayCounts]) -> Metric:
    family = CounterMetricFamily(
        "hublet_messages", "Messages from (in) and to (out) devices.", labels=["gateway", "direction", "kind"]
    )
    for each in counts:
        received = {**({"telemetry": each.telemetry} if each.telemetry else {}), **each.messages_in}
        for direction, messages in (("in", received), ("out", each.messages_out)):
            for kind, count in messages.items():
                family.add_metric([each.gateway, direction, kind], count)
    return family


def _telemetry_bytes(counts: list[GatewayCounts]) -> Metric:
    family = CounterMetricFamily("hublet_telemetry_bytes", "Payloads of telemetry.", labels=["gateway"])
    for each in counts:
        if each.telemetry:
            family.add_metric([each.gateway], each.telemetry_bytes)
    return family


def _durations(name: str, text: str, durations: Durations) -> Metric:
    return HistogramMetricFamily(name, text, buckets=list(durations.cumulative()), sum_value=durations.total)
