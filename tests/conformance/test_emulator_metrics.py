"""The emulator's metrics, as Prometheus scrapes them from the control port."""

import http.client
import ssl
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from certs.keys import KeyType, generate_key
from device_sim.certificate_store import MemoryStore
from device_sim.credential import ClientCertificate
from device_sim.device import Device
from device_sim.dialer import Dialer, read_trust_anchors
from device_sim.errors import ConnectionRefused
from device_sim.hub_session import HubClient
from device_sim.registration import Assignment
from device_sim.settings import DeviceSettings
from emulator.bootstrap import open_dev_ca

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(running: Any) -> Samples:
    families = text_string_to_metric_families(running.get("/metrics").decode())
    samples = [each for family in families for each in family.samples]
    return {(each.name, tuple(sorted(each.labels.items()))): each.value for each in samples}


def counted(before: Samples, after: Samples, name: str, **labels: str) -> float:
    """How much a counter went up."""
    key = (name, tuple(sorted(labels.items())))
    return after.get(key, 0) - before.get(key, 0)


def device_of(running: Any, registration_id: str) -> tuple[Device, HubClient]:
    settings = DeviceSettings(
        running.id_scope(), "localhost", running.mqtt_port, running.mqtt_port, ca_file=running.ca_file
    )
    authority = open_dev_ca(running.state_dir)
    assert authority is not None
    key, now = generate_key(KeyType.P256), datetime.now(UTC)
    leaf = authority.issue_onboarding(registration_id, key.public_key(), now, validity=timedelta(days=1))
    credential = ClientCertificate((leaf, authority.certificate), key)
    dialer = Dialer(read_trust_anchors(settings.ca_file))
    device = Device(settings, credential, MemoryStore(), dialer)
    return device, HubClient(settings, dialer, lambda: datetime.now(UTC))


async def test_metrics_tell_what_a_device_did(start: Any) -> None:
    """Onboarding, two messages, a renewal and a refused connection can be seen in the metrics, and nothing else can."""
    running = start()
    before = scrape(running)
    device, stranger = device_of(running, "sim-metered")
    try:
        session = await device.connect()
        await device.send_telemetry(b"12345")
        await device.send_telemetry(b"12345")
        await device.renew()
        during = scrape(running)
        with pytest.raises(ConnectionRefused):
            await stranger.connect(Assignment(session.assignment.hub, "nobody"), device.certificate)
    finally:
        await device.close()
    after = scrape(running)
    hub, dps = (running.info[each][0]["name"] for each in ("hubs", "provisioningServices"))

    def went_up(name: str, **labels: str) -> float:
        return counted(before, after, f"hublet_{name}_total", **labels)

    assert went_up("connects", gateway=dps, outcome="accepted", return_code="0") == 1
    assert went_up("connects", gateway=hub, outcome="accepted", return_code="0") == 1
    assert went_up("connects", gateway=hub, outcome="refused", return_code="5") == 1
    assert went_up("refusals", gateway=hub, reason="not_registered") == 1
    assert went_up("registrations", status="assigned") == 1
    assert went_up("registrations", status="failed") == 0
    assert went_up("certificates_issued", via="registration") == 1
    assert went_up("certificates_issued", via="renewal") == 1
    assert went_up("messages", gateway=hub, direction="in", kind="telemetry") == 2
    assert went_up("telemetry_bytes", gateway=hub) == 10
    assert went_up("messages", gateway=hub, direction="out", kind="credential") == 2
    assert during["hublet_connected_devices", (("gateway", hub),)] == 1
    assert after["hublet_commit_seconds_count", ()] > before["hublet_commit_seconds_count", ()]
    assert after["hublet_answer_seconds_count", ()] >= 4
    assert after["hublet_failed_commits_total", ()] == 0
    assert after["hublet_store_bytes", ()] > 0


def test_metrics_are_on_the_control_port_only(emulator: Any) -> None:
    """Who reaches the HTTPS port from outside learns nothing."""
    context = ssl.create_default_context(cafile=str(emulator.ca_file))
    with closing(http.client.HTTPSConnection("localhost", emulator.https_port, timeout=5, context=context)) as client:
        client.request("GET", "/metrics")
        answer = client.getresponse()
        assert answer.status in {401, 404}
        assert b"hublet_" not in answer.read()
