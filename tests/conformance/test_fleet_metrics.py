"""The simulator's metrics over HTTP."""

import asyncio
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from device_sim.metrics import start_metrics_server
from device_sim.recorder import DeviceState, Recorder


def fetch(port: int, accept: str = "") -> tuple[str, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


async def test_metrics_of_a_running_fleet_can_be_scraped():
    """Prometheus gets the present values in the text format, on a port of loopback."""
    recorder = Recorder()
    server = await start_metrics_server(recorder, 0)
    try:
        recorder.moved(None, DeviceState.CONNECTED)
        content_type, text = await asyncio.to_thread(fetch, server.port)
        openmetrics, other = await asyncio.to_thread(fetch, server.port, "application/openmetrics-text; version=1.0.0")
    finally:
        await server.close()
    assert content_type.startswith("text/plain")
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"hublet_fleet_devices", "hublet_fleet_elapsed_seconds", "hublet_fleet_reconnects"} <= names
    assert openmetrics.startswith("application/openmetrics-text")
    assert other.endswith("# EOF\n")


async def test_a_port_that_is_taken_is_an_error():
    """Two fleets cannot have the same port, and the second one is told so."""
    server = await start_metrics_server(Recorder(), 0)
    try:
        with pytest.raises(OSError, match="address already in use"):
            await start_metrics_server(Recorder(), server.port)
    finally:
        await server.close()
