import asyncio
import json
import logging
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.packets import Connack, Connect, Packet, Puback, Publish, Subscribe
from certs.keys import KeyType, key_type_of
from certs.pem import format_base64_der
from device_sim.certificate_store import DirectoryStore, MemoryStore
from device_sim.credential import ClientCertificate, SymmetricKey
from device_sim.device import Device
from device_sim.errors import (
    CertificateMismatch,
    ConnectionLost,
    ConnectionRefused,
    CredentialError,
    NoCertificateIssued,
    ProvisioningError,
    RequestTimeout,
    ServerUnreachable,
    UnexpectedResponse,
)
from device_sim.hub_session import JSON_UTF8
from device_sim.phases import Phase
from device_sim.settings import DeviceSettings

RENEW = "$iothub/credentials/POST/issueCertificate/"


def device_of(cloud: Any, credential: Any, settings: DeviceSettings, store: Any = None) -> Device:
    return Device(settings, credential, store or MemoryStore(), cloud, now=lambda: cloud.now)


def refuse_connections(cloud: Any, user_name_start: str, return_code: int = 5) -> None:
    def reply(_wire: Any, packet: Packet) -> list[Packet] | None:
        if isinstance(packet, Connect) and (packet.user_name or "").startswith(user_name_start):
            return [Connack(session_present=False, return_code=return_code)]
        return None

    cloud.reply = reply


def answer_publish(cloud: Any, topic_start: str, status: int, body: object) -> list[Publish]:
    """Let the service answer requests under a topic with one message; return those it took."""
    taken: list[Publish] = []

    def reply(_wire: Any, packet: Packet) -> list[Packet] | None:
        if not isinstance(packet, Publish) or not packet.topic.startswith(topic_start):
            return None
        taken.append(packet)
        request_id = packet.topic.partition("$rid=")[2]
        prefix = "$iothub/credentials" if topic_start == RENEW else "$dps/registrations"
        topic = f"{prefix}/res/{status}/?$rid={request_id}"
        return [Puback(packet.packet_id or 0), Publish(topic, json.dumps(body).encode())]

    cloud.reply = reply
    return taken


def test_device_onboards_by_symmetric_key(
    cloud: Any, run: Any, settings: DeviceSettings, symmetric_key: SymmetricKey
) -> None:
    device = device_of(cloud, symmetric_key, settings)
    onboarded, seconds = run(device.onboard())
    assert (onboarded.assigned_hub, onboarded.device_id) == ("hub1.example", "sensor-001")
    assert onboarded.certificate is not None
    assert onboarded.certificate.registration_id == "sensor-001"
    [connect] = cloud.sent(Connect)
    assert (connect.client_id, connect.clean_session) == ("sensor-001", True)
    assert connect.user_name == (
        "0ne00ABCDEF/registrations/sensor-001/api-version=2025-07-01-preview&ClientVersion=hublet-device%2F0.1"
    )
    assert connect.password.startswith(b"SharedAccessSignature sr=0ne00ABCDEF%2Fregistrations%2Fsensor-001&sig=")
    assert connect.password.endswith(b"&skn=registration")
    assert cloud.sent(Subscribe) == [Subscribe(1, (("$dps/registrations/res/#", 1),))]
    assert seconds == 3, "the retry-after of the service was honoured"


def test_device_onboards_by_certificate_and_sends_no_password(
    cloud: Any, run: Any, settings: DeviceSettings, onboarding_certificate: ClientCertificate
) -> None:
    run(device_of(cloud, onboarding_certificate, settings).onboard())
    [wire] = cloud.wires
    assert wire.certificate is onboarding_certificate
    assert wire.connect.password is None
    assert wire.closing


def test_payload_reaches_the_registration(
    cloud: Any, run: Any, settings: DeviceSettings, symmetric_key: SymmetricKey
) -> None:
    run(device_of(cloud, symmetric_key, settings).onboard(payload={"site": "a"}))
    assert json.loads(cloud.sent(Publish)[0].payload)["payload"] == {"site": "a"}


def test_device_connects_with_its_new_certificate_and_sends_telemetry(
    cloud: Any, run: Any, settings: DeviceSettings, symmetric_key: SymmetricKey
) -> None:
    device = device_of(cloud, symmetric_key, settings)

    async def scenario() -> None:
        await device.connect()
        await device.send_telemetry(b"{}")
        await device.send_telemetry(b"{}")

    run(scenario())
    hub = cloud.wires[1]
    assert hub.certificate is device.certificate
    assert [each.subject.rfc4514_string() for each in hub.certificate.presented] == ["CN=sensor-001", "CN=ica"]
    assert (hub.connect.client_id, hub.connect.password, hub.connect.clean_session) == ("sensor-001", None, False)
    assert hub.connect.user_name.startswith("hub1.example/sensor-001/?api-version=2025-08-01-preview&")
    topic = "devices/sensor-001/messages/events/%24.ct=application%2Fjson&%24.ce=utf-8"
    assert [packet.topic for packet in hub.received[1:]] == [topic, topic]
    assert list(device.phases.seconds) == [phase for phase in Phase if phase is not Phase.RENEWAL]


def test_second_connection_needs_no_dps(
    cloud: Any, run: Any, settings: DeviceSettings, symmetric_key: SymmetricKey, tmp_path: Path
) -> None:
    run(device_of(cloud, symmetric_key, settings, DirectoryStore(tmp_path)).connect())
    run(device_of(cloud, symmetric_key, settings, DirectoryStore(tmp_path)).connect())
    assert cloud.registrations == 1


def test_expired_certificate_sends_the_device_back_to_dps(
    cloud: Any, run: Any, settings: DeviceSettings, symmetric_key: SymmetricKey
) -> None:
    device = device_of(cloud, symmetric_key, settings)
    run(device.connect())
    first = device.certificate
    cloud.now += timedelta(days=31)
    run(device.connect())
    assert cloud.registrations == 2
    assert first is not None
    assert cloud.wires[-1].certificate.leaf != first.leaf


def test_refused_certificate_sends_the_device_back_to_dps(
    cloud: Any, run: Any, settings: DeviceSettings, symmetric_key: SymmetricKey, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    device = device_of(cloud, symmetric_key, settings)
    run(device.connect())
    refuse_connections(cloud, "hub1.example/")
    cloud.assigned_hub = "hub2.example"
    session, _ = run(device.connect())
    assert session.assignment.hub == "hub2.example"
    assert "sensor-001: back to DPS" in caplog.text


def test_device_without_certificate_connects_with_its_symmetric_key(
    cloud: Any, run: Any, settings: DeviceSettings, symmetric_key: SymmetricKey
) -> None:
    device = device_of(cloud, symmetric_key, replace(settings, request_certificate=False))
    run(device.connect())
    run(device.connect())
    assert cloud.registrations == 1
    assert "csr" not in json.loads(cloud.sent(Publish)[0].payload)
    password = cloud.wires[-1].connect.password
    assert password.startswith(b"SharedAccessSignature sr=hub1.example%2Fdevices%2Fsensor-001&sig=")


def test_gateway_host_stands_in_for_the_hub(
    cloud: Any, run: Any, settings: DeviceSettings, symmetric_key: SymmetricKey
) -> None:
    cloud.unreachable = {"hub1.example"}
    run(device_of(cloud, symmetric_key, replace(settings, gateway_host_name="localhost")).connect())
    assert cloud.wires[-1].connect.user_name.startswith("hub1.example/")


def test_assignment_without_certificate_is_an_error(
    cloud: Any, run: Any, settings: DeviceSettings, symmetric_key: SymmetricKey
) -> None:
    cloud.issues = False
    with pytest.raises(NoCertificateIssued, match=r"hub1\.example without a certificate"):
        run(device_of(cloud, symmetric_key, settings).onboard())


def test_chain_of_another_key_is_an_error(
    cloud: Any, run: Any, settings: DeviceSettings, symmetric_key: SymmetricKey
) -> None:
    device = device_of(cloud, symmetric_key, settings)
    run(device.onboard())
    other = cloud.root.issue_intermediate("sensor-001", cloud.now)
    cloud.issue = lambda _body, _name: [format_base64_der(other.certificate)]
    with pytest.raises(CertificateMismatch, match="another private key"):
        run(device.onboard())


def test_refusal_of_dps_is_raised_and_the_connection_closed(
    cloud: Any, run: Any, settings: DeviceSettings, symmetric_key: SymmetricKey
) -> None:
    answer_publish(cloud, "$dps/", 401, {"errorCode": 401000, "message": "Unauthorized"})
    with pytest.raises(ProvisioningError, match="401000: Unauthorized"):
        run(device_of(cloud, symmetric_key, settings).onboard())
    assert cloud.wires[0].closing


def test_refused_connection_to_dps_is_raised(
    cloud: Any, run: Any, settings: DeviceSettings, symmetric_key: SymmetricKey
) -> None:
    refuse_connections(cloud, "0ne00ABCDEF/")
    with pytest.raises(ConnectionRefused, match=r"dps\.example:8883"):
        run(device_of(cloud, symmetric_key, settings).onboard())


def test_registration_that_never_ends_is_given_up(
    cloud: Any, run: Any, settings: DeviceSettings, symmetric_key: SymmetricKey
) -> None:
    cloud.polls = 1_000_000

    async def scenario() -> None:
        with pytest.raises(RequestTimeout, match="sensor-001 was not assigned within 180 s"):
            await device_of(cloud, symmetric_key, settings).onboard()

    assert run(scenario())[1] == 180
    assert cloud.wires[0].closing


def test_throttled_registration_goes_on_after_the_time_it_was_told(
    cloud: Any, run: Any, settings: DeviceSettings, symmetric_key: SymmetricKey
) -> None:
    throttled: list[Packet] = []

    def reply(_wire: Any, packet: Packet) -> list[Packet] | None:
        if throttled or not isinstance(packet, Publish):
            return None
        throttled.append(packet)
        topic = "$dps/registrations/res/429/?$rid=1&retry-after=20"
        return [Puback(packet.packet_id or 0), Publish(topic, b'{"errorCode": 429000}')]

    cloud.reply = reply
    seconds = run(device_of(cloud, symmetric_key, settings).onboard())[1]
    assert 23 <= seconds <= 33, "no earlier than told, and by up to half as much later"


def test_key_whose_certificate_never_came_is_used_again(
    cloud: Any, run: Any, settings: DeviceSettings, symmetric_key: SymmetricKey
) -> None:
    store = MemoryStore()
    cloud.issues = False
    with pytest.raises(NoCertificateIssued):
        run(device_of(cloud, symmetric_key, settings, store).onboard())
    key = store.pending_key()
    cloud.issues = True
    onboarded, _ = run(device_of(cloud, symmetric_key, settings, store).onboard())
    assert onboarded.certificate.key is key


def test_key_of_another_type_than_wanted_is_not_used_again(
    cloud: Any, run: Any, settings: DeviceSettings, symmetric_key: SymmetricKey
) -> None:
    store = MemoryStore()
    cloud.issues = False
    with pytest.raises(NoCertificateIssued):
        run(device_of(cloud, symmetric_key, settings, store).onboard())
    cloud.issues = True
    wanted = replace(settings, key_type=KeyType.P384)
    onboarded, _ = run(device_of(cloud, symmetric_key, wanted, store).onboard())
    assert key_type_of(onboarded.certificate.key) is KeyType.P384


def test_renewal_replaces_the_pair_and_keeps_the_session(
    cloud: Any, run: Any, settings: DeviceSettings, symmetric_key: SymmetricKey
) -> None:
    device = device_of(cloud, symmetric_key, settings)

    async def scenario() -> None:
        session = await device.connect()
        first = device.certificate
        second = await device.renew()
        third = await device.renew()
        assert first is not None
        assert len({each.leaf.serial_number for each in (first, second, third)}) == 3
        assert device.certificate is third
        assert device.session is session
        await device.send_telemetry(b"{}")

    run(scenario())
    [subscribe] = [packet for packet in cloud.wires[1].received if isinstance(packet, Subscribe)]
    assert subscribe.topic_filters == (("$iothub/credentials/res/#", 1),)


def test_pending_renewal_is_replaced(
    cloud: Any, run: Any, settings: DeviceSettings, symmetric_key: SymmetricKey
) -> None:
    device = device_of(cloud, symmetric_key, settings)
    run(device.connect())
    taken = answer_publish(cloud, RENEW, 409, {"errorCode": 409004, "message": "active"})
    original = cloud.reply
    cloud.reply = lambda wire, packet: None if taken else original(wire, packet)

    async def scenario() -> None:
        await device.connect()
        await device.renew()

    run(scenario())
    bodies = [json.loads(packet.payload) for packet in cloud.sent(Publish) if packet.topic.startswith(RENEW)]
    assert [body.get("replace") for body in bodies] == [None, "*"]


def test_refused_renewal_is_raised_and_the_pair_in_use_stays(
    cloud: Any, run: Any, settings: DeviceSettings, symmetric_key: SymmetricKey
) -> None:
    device = device_of(cloud, symmetric_key, settings)

    async def scenario() -> None:
        await device.connect()
        before = device.certificate
        answer_publish(cloud, RENEW, 400, {"errorCode": 400040, "message": "no"})
        with pytest.raises(CredentialError, match="400040"):
            await device.renew()
        answer_publish(cloud, RENEW, 200, {"certificates": []})
        with pytest.raises(UnexpectedResponse):
            await device.renew()
        assert device.certificate is before

    run(scenario())


def test_renewal_without_a_result_is_given_up(
    cloud: Any, run: Any, settings: DeviceSettings, symmetric_key: SymmetricKey
) -> None:
    patient = replace(settings, timeout_seconds=1000)
    device = device_of(cloud, symmetric_key, patient)

    async def scenario() -> None:
        await device.connect()
        answer_publish(cloud, RENEW, 202, {})
        with pytest.raises(RequestTimeout, match="no certificate within 180 s"):
            await device.renew()

    run(scenario())


def test_device_that_is_not_connected_can_neither_send_nor_renew(
    cloud: Any, run: Any, settings: DeviceSettings, symmetric_key: SymmetricKey
) -> None:
    device = device_of(cloud, symmetric_key, settings)
    with pytest.raises(ConnectionLost, match="sensor-001 is not connected"):
        run(device.send_telemetry(b""))
    with pytest.raises(ConnectionLost):
        run(device.renew())


def live_for(cloud: Any, device: Device, run: Any, duration: timedelta, interval_seconds: float) -> None:
    """Let a device live on a loop without waiting, with the device's clock following the loop's."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        start, begin = cloud.now, loop.time()
        device._now = lambda: start + timedelta(seconds=loop.time() - begin)
        life = asyncio.ensure_future(device.live(lambda: b"{}", interval_seconds))
        while loop.time() - begin < duration.total_seconds():
            await asyncio.sleep(interval_seconds / 2)
            cloud.now = device._now()
        life.cancel()
        await asyncio.wait((life,))

    run(scenario())


def test_living_device_renews_before_its_certificate_expires_and_uses_the_new_one(
    cloud: Any, run: Any, settings: DeviceSettings, symmetric_key: SymmetricKey
) -> None:
    cloud.validity = timedelta(hours=2)
    device = device_of(cloud, symmetric_key, replace(settings, keep_alive_seconds=0))
    live_for(cloud, device, run, timedelta(hours=8), 600)
    hubs = [wire for wire in cloud.wires if wire.connect.user_name.startswith("hub1")]
    assert cloud.registrations == 1
    assert len(hubs) >= 5
    assert len({wire.certificate.leaf.serial_number for wire in hubs}) == len(hubs)
    assert sum(packet.topic.startswith("devices/") for packet in cloud.sent(Publish)) >= 45


def test_living_device_comes_back_after_failures_and_waits_longer_each_time(
    cloud: Any, run: Any, settings: DeviceSettings, symmetric_key: SymmetricKey, caplog: pytest.LogCaptureFixture
) -> None:
    cloud.unreachable = {"dps.example"}
    device = device_of(cloud, symmetric_key, settings)
    with pytest.raises(ServerUnreachable):
        run(device.connect())
    live_for(cloud, device, run, timedelta(minutes=4), 10)
    waits = [record.args[1] for record in caplog.records]
    assert waits[:8] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_default_properties_say_json() -> None:
    assert dict(JSON_UTF8) == {"$.ct": "application/json", "$.ce": "utf-8"}
