"""The simulated devices over real sockets and TLS, against a running emulator."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.tls import TlsServer, server_context
from certs.authority import CertificateAuthority
from certs.keys import KeyType, generate_key
from certs.pem import format_pem
from device_sim import dialer as dialer_module
from device_sim.certificate_store import DirectoryStore
from device_sim.credential import ClientCertificate, SymmetricKey
from device_sim.device import Device, onboard
from device_sim.dialer import Dialer, read_trust_anchors, system_now
from device_sim.errors import (
    ConnectionRefused,
    DeviceError,
    ProvisioningError,
    RequestTimeout,
    ServerNotTrusted,
    ServerUnreachable,
)
from device_sim.fleet import Fleet, FleetPlan
from device_sim.mqtt import MqttClient
from device_sim.phases import Phase
from device_sim.settings import DeviceSettings
from emulator.bootstrap import open_dev_ca

DAY = timedelta(days=1)


@pytest.fixture
def settings(emulator: Any) -> DeviceSettings:
    service = emulator.info["provisioningServices"][0]
    port = emulator.mqtt_port
    return DeviceSettings(service["idScope"], "localhost", port, port, ca_file=emulator.ca_file)


def credential_of(emulator: Any, registration_id: str) -> ClientCertificate:
    authority = open_dev_ca(emulator.state_dir)
    assert authority is not None
    key = generate_key(KeyType.P256)
    leaf = authority.issue_onboarding(registration_id, key.public_key(), datetime.now(UTC), validity=DAY)
    return ClientCertificate((leaf, authority.certificate), key)


async def test_device_onboards_and_keeps_what_it_got(emulator: Any, settings: DeviceSettings, tmp_path: Path) -> None:
    """One call onboards a device; its directory holds all it needs from then on."""
    credential = credential_of(emulator, "sim-onboard")
    onboarded = await onboard(settings, credential, tmp_path)
    assert onboarded.device_id == "sim-onboard"
    assert onboarded.certificate is not None
    stored = DirectoryStore(tmp_path).load()
    assert stored.assignment is not None
    assert stored.assignment.hub == onboarded.assigned_hub
    assert stored.certificate is not None
    assert stored.certificate.chain == onboarded.certificate.chain
    assert len(stored.certificate.chain) == 3


async def test_device_returns_without_dps_renews_and_uses_the_new_certificate(
    emulator: Any, settings: DeviceSettings, tmp_path: Path
) -> None:
    """A device that was onboarded connects straight to its hub; a renewed certificate is accepted there."""
    credential = credential_of(emulator, "sim-renew")
    first = await onboard(settings, credential, tmp_path)
    device = Device(settings, credential, DirectoryStore(tmp_path), Dialer(read_trust_anchors(settings.ca_file)))
    try:
        await device.connect()
        assert Phase.REGISTER not in device.phases.seconds
        await device.send_telemetry(b'{"n": 1}')
        renewed = await device.renew()
        assert first.certificate is not None
        assert renewed.leaf.serial_number != first.certificate.leaf.serial_number
        await device.connect()
        await device.send_telemetry(b'{"n": 2}')
    finally:
        await device.close()
    assert len(emulator.events("sim-renew")) == 2


async def test_fleet_onboards_sends_and_renews(emulator: Any, settings: DeviceSettings) -> None:
    """Thirty devices go through every phase."""
    credentials = [credential_of(emulator, f"sim-fleet-{number}") for number in range(30)]
    report = await Fleet(settings, credentials, FleetPlan(concurrency=30, messages=2, renew=True)).run()
    assert report.failures == {}, report.devices
    assert report.succeeded == 30
    for phase in Phase:
        assert report.percentile(phase, 0.99) is not None


async def test_certificate_of_an_unknown_factory_is_refused_with_its_error_code(settings: DeviceSettings) -> None:
    """DPS answers the registration with 401; the device's error carries the code."""
    stranger = CertificateAuthority.create_root("stranger", datetime.now(UTC), key_type=KeyType.P256)
    key = generate_key(KeyType.P256)
    leaf = stranger.issue_onboarding("sim-stranger", key.public_key(), datetime.now(UTC), validity=DAY)
    with pytest.raises(ProvisioningError) as refused:
        await onboard(settings, ClientCertificate((leaf, stranger.certificate), key))
    assert refused.value.error_code == 401002


async def test_unknown_symmetric_key_is_refused_with_its_error_code(settings: DeviceSettings) -> None:
    """A token that no enrollment's key signed is answered with 401000."""
    with pytest.raises(ProvisioningError) as refused:
        await onboard(settings, SymmetricKey("sim-unknown-key", "c2VjcmV0c2VjcmV0c2VjcmV0"))
    assert refused.value.error_code == 401000


async def test_unknown_id_scope_is_refused_at_connect(emulator: Any, settings: DeviceSettings) -> None:
    """No DPS has the ID scope: CONNACK 5."""
    other = DeviceSettings("0neFFFFFFFF", "localhost", settings.dps_port, ca_file=settings.ca_file)
    with pytest.raises(ConnectionRefused) as refused:
        await onboard(other, credential_of(emulator, "sim-scope"))
    assert refused.value.return_code == 5


# --- trust in the server ---


@pytest.fixture
def server_ca() -> CertificateAuthority:
    return CertificateAuthority.create_root("server CA", datetime.now(UTC), key_type=KeyType.P256)


async def dial(server_ca: CertificateAuthority, names: list[str], dialer: Dialer, *, validity: timedelta = DAY) -> None:
    """Connect to a server of our own as `localhost`."""
    key = generate_key(KeyType.P256)
    leaf = server_ca.issue_server(names, key.public_key(), datetime.now(UTC), validity=validity)
    server = TlsServer(server_context([(leaf, key)]), asyncio.Protocol)
    port = await server.listen(["127.0.0.1"], 0)
    client = MqttClient("localhost", 5)
    try:
        await dialer.open("localhost", port, client, None, 5)
        assert client.is_connected
    finally:
        client.abort()
        await client.wait_closed()
        await server.close()


@pytest.fixture
def dialer(server_ca: CertificateAuthority) -> Dialer:
    return Dialer((server_ca.certificate,))


async def test_server_of_a_trusted_ca_is_accepted(server_ca: CertificateAuthority, dialer: Dialer) -> None:
    """The certificate is for the name that was dialled."""
    await dial(server_ca, ["localhost"], dialer)


async def test_server_of_another_ca_is_refused(server_ca: CertificateAuthority) -> None:
    """Nothing is said to a server that the trust anchors do not vouch for."""
    other = CertificateAuthority.create_root("other CA", datetime.now(UTC))
    with pytest.raises(ServerNotTrusted, match="localhost"):
        await dial(server_ca, ["localhost"], Dialer((other.certificate,)))


async def test_server_with_another_name_is_refused(server_ca: CertificateAuthority, dialer: Dialer) -> None:
    """A valid certificate for another host is not one for this host."""
    with pytest.raises(ServerNotTrusted, match="localhost"):
        await dial(server_ca, ["hub1.example"], dialer)


async def test_expired_server_certificate_is_refused(server_ca: CertificateAuthority, dialer: Dialer) -> None:
    """The server's validity is judged by the machine's clock."""
    with pytest.raises(ServerNotTrusted, match="localhost"):
        await dial(server_ca, ["localhost"], dialer, validity=-timedelta(minutes=1))


async def test_port_where_nobody_listens_is_unreachable(dialer: Dialer) -> None:
    """No TCP connection is an error of its own."""
    with pytest.raises(ServerUnreachable, match=r"127\.0\.0\.1:1"):
        await dialer.open("127.0.0.1", 1, MqttClient("x", 1), None, 5)


async def test_server_that_speaks_no_tls_is_unreachable(dialer: Dialer) -> None:
    """A plain-text answer ends the handshake."""

    class Plain(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server = await asyncio.get_running_loop().create_server(Plain, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        with pytest.raises(ServerUnreachable, match="TLS handshake failed"):
            await dialer.open("127.0.0.1", port, MqttClient("x", 1), None, 5)
    finally:
        server.close()


async def test_server_that_says_nothing_is_left(dialer: Dialer) -> None:
    """The handshake is bounded in time."""
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        with pytest.raises(RequestTimeout, match=r"no TLS connection within 0\.05 s"):
            await dialer.open("127.0.0.1", port, MqttClient("x", 1), None, 0.05)
    finally:
        server.close()


def test_trust_anchors_are_read_from_a_file_or_from_the_system(
    server_ca: CertificateAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ca_file` names the anchors; without it the system's bundle does."""
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(format_pem(server_ca.certificate))
    assert read_trust_anchors(bundle) == (server_ca.certificate,)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert read_trust_anchors(None) == (server_ca.certificate,)
    monkeypatch.setattr(dialer_module.ssl, "get_default_verify_paths", _NoPaths)
    with pytest.raises(FileNotFoundError, match="ca_file"):
        read_trust_anchors(None)


class _NoPaths:
    cafile = None


def test_errors_have_a_reason_and_the_clock_a_zone() -> None:
    """What a fleet counts by, and what certificates are compared with."""
    assert DeviceError("x").reason == "DeviceError"
    assert system_now().tzinfo is UTC
