"""Prometheus metrics of a running fleet, read from its recorder when they are asked for: devices pay nothing."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from device_sim.histogram import Histogram, bucket_of
from device_sim.recorder import Recorder
from device_sim.summary import Measured, Snapshot

# Upper bounds in seconds: a PUBACK takes a millisecond, a registration behind a herd may take a minute.
BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class FleetCollector(Collector):
    """Gives what a recorder has counted as metric families."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def collect(self) -> Iterator[Metric]:
        """Give the present values."""
        snapshot = self._recorder.snapshot()
        yield GaugeMetricFamily("hublet_fleet_elapsed_seconds", "Since the run began.", value=snapshot.elapsed_seconds)
        yield _devices(snapshot)
        yield CounterMetricFamily(
            "hublet_fleet_reconnects", "Times that a device lost its hub and went back.", value=snapshot.reconnects
        )
        yield _errors(snapshot)
        yield _messages(snapshot)
        yield _histograms("hublet_fleet_total_seconds", "From the intended start.", "total", snapshot.totals)
        yield _histograms("hublet_fleet_phase_seconds", "Of one step alone.", "phase", snapshot.phases)
        yield _histograms("hublet_fleet_message_seconds", "Until it was acknowledged.", "kind", snapshot.messages)


class MetricsServer:
    """Answers `GET /metrics` on loopback; it lives on the fleet's own event loop."""

    def __init__(self, recorder: Recorder) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(FleetCollector(recorder))
        application = web.Application()
        application.router.add_get("/metrics", self._get_metrics)
        self._runner = web.AppRunner(application, access_log=None)
        self.port = 0

    async def listen(self, port: int) -> None:
        """Bind to 127.0.0.1; port 0 takes a free one.

        Raises:
            OSError: it cannot be bound.
        """
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _get_metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})


async def start_metrics_server(recorder: Recorder, port: int) -> MetricsServer:
    """Serve a recorder's metrics until `close`; the server's `port` tells where.

    Raises:
        OSError: the port cannot be bound.
    """
    server = MetricsServer(recorder)
    try:
        await server.listen(port)
    except OSError:
        await server.close()
        raise
    return server


def _devices(snapshot: Snapshot) -> Metric:
    family = GaugeMetricFamily("hublet_fleet_devices", "Devices by state.", labels=["state"])
    for state, count in snapshot.states.items():
        family.add_metric([state], count)
    return family


def _errors(snapshot: Snapshot) -> Metric:
    family = CounterMetricFamily("hublet_fleet_errors", "Failures by reason and step.", labels=["reason", "phase"])
    for each in snapshot.errors:
        family.add_metric([each.reason, each.phase], each.count)
    return family


def _messages(snapshot: Snapshot) -> Metric:
    family = CounterMetricFamily("hublet_fleet_messages", "Messages by kind.", labels=["kind"])
    for kind, measured in snapshot.messages.items():
        family.add_metric([kind], measured.times)
    return family


def _histograms(name: str, text: str, label: str, series: Mapping[str, Measured]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=[label])
    for key, measured in series.items():
        histogram = measured.histogram
        if histogram.count:
            family.add_metric([key], list(_buckets(histogram)), histogram.mean * histogram.count)
    return family


def _buckets(histogram: Histogram) -> Iterable[tuple[str, float]]:
    """Count cumulatively up to each bound; a bucket of the histogram belongs where its lower edge is."""
    ordered = iter(sorted(histogram.counts.items()))
    bucket, count = next(ordered)
    reached = 0
    for bound in BOUNDS:
        end = bucket_of(bound)
        while count and bucket < end:
            reached += count
            bucket, count = next(ordered, (0, 0))
        yield str(bound), reached
    yield "+Inf", histogram.count
