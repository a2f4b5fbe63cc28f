"""Onboarding with a certificate signing request, by plain MQTT clients: from DPS to a renewed certificate."""

import json
import ssl
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.conformance.plain_device import (
    HUB_API_VERSION,
    Answer,
    DpsClient,
    HubClient,
    Key,
    Pair,
    certificates_of,
    csr_of,
    csr_text,
    derived_key,
    key_pem,
    p256,
    pem_of,
    tls_context,
)
from tests.conformance.running_emulator import RunningEmulator

SLOW_DPS = """
namespaces: {default: {policies: {default: {}}}}
hubs: {hub1: {namespace: default}}
dps:
  dps1:
    namespace: default
    assigning_delay_seconds: 0.7
    retry_after_seconds: 1
    enrollment_groups: {dev-ca: {ca: dev-ca, credential_policy: default}}
"""
KEYS: dict[str, Callable[[], Key]] = {
    "P-256": p256,
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "RSA-2048": lambda: rsa.generate_private_key(65537, 2048),
}


def tls_1_2_only(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2


def tls_1_3_only(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3


def rsa_only(context: ssl.SSLContext) -> None:
    tls_1_2_only(context)
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384")


def onboard(
    emulator: RunningEmulator, context: ssl.SSLContext, registration_id: str, key: Key, **options: Any
) -> Answer:
    """Register with a CSR for `key`; give the outcome."""
    port = options.pop("port", emulator.mqtt_port)
    with DpsClient.make(port, context, emulator.id_scope(), registration_id, **options).connected() as dps:
        answer = dps.onboard({"registrationId": registration_id, "csr": csr_text(registration_id, key)})
    assert (answer.status, answer.body["status"]) == (200, "assigned"), answer
    return answer


def keep(directory: Path, name: str, chain: list[x509.Certificate], key: Key) -> Pair:
    """Keep what a device shows to its hub: leaf and issuing CA, and the key."""
    return Pair.write(directory, name, pem_of(*chain[:2]), key_pem(key))


def connect_to_hub(emulator: RunningEmulator, pair: Pair, device_id: str, **options: Any) -> HubClient:
    context = tls_context(emulator.ca_file, pair)
    return HubClient.make(emulator.mqtt_port, context, "localhost", device_id, **options).connected()


def assert_chain(chain: list[x509.Certificate], device_id: str, key: Key, directory: Path) -> None:
    """Check an issued chain with cryptography and with openssl: leaf, issuing CA, root."""
    assert len(chain) == 3
    for certificate, issuer in [*pairwise(chain), (chain[2], chain[2])]:
        certificate.verify_directly_issued_by(issuer)
    leaf = chain[0]
    assert leaf.public_key() == key.public_key()
    assert [each.value for each in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [device_id]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    remaining = leaf.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < remaining <= timedelta(days=30)
    assert_openssl_verifies(chain, directory)


def assert_openssl_verifies(chain: list[x509.Certificate], directory: Path) -> None:
    names = ("leaf", "ica", "root")
    files = {name: directory / f"{name}.pem" for name in names}
    for name, certificate in zip(names, chain, strict=True):
        files[name].write_bytes(pem_of(certificate))
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslclient"]
    command += ["-CAfile", files["root"], "-untrusted", files["ica"], files["leaf"]]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.stdout.strip() == f"{files['leaf']}: OK", answer.stderr


def test_x509_device_from_dps_to_a_renewed_certificate(emulator: RunningEmulator, tmp_path: Path) -> None:
    """The whole main job: register, 202, poll, 200 with the chain, hub, telemetry, renewal, both certificates serve."""
    device, first_key, next_key = "plain-1", p256(), p256()
    onboarding = emulator.issue_onboarding(device, tmp_path)
    answer = onboard(emulator, tls_context(emulator.ca_file, onboarding), device, first_key)
    assert answer.state["assignedHub"] == "localhost"
    assert answer.state["deviceId"] == device
    assert answer.state["substatus"] == "initialAssignment"
    chain = certificates_of(answer.state["issuedCertificateChain"])
    assert_chain(chain, device, first_key, tmp_path)
    first = keep(tmp_path, "first", chain, first_key)

    with connect_to_hub(emulator, first, device) as hub:
        hub.send_telemetry({"temperature": 21.5}, "room=a%20b")
        assert hub.subscribe("$iothub/credentials/res/#") == [1]
        renewed = hub.renew(next_key)
        hub.send_telemetry({"temperature": 22})
        assert hub.is_connected
    assert_chain(renewed, device, next_key, tmp_path)
    assert renewed[0].serial_number != chain[0].serial_number
    second = keep(tmp_path, "second", renewed, next_key)
    for number, pair in enumerate((second, first)):
        with connect_to_hub(emulator, pair, device) as hub:
            hub.send_telemetry({"certificate": number})

    shown = emulator.cli("events", "--json", "--device", device)
    events = [json.loads(line) for line in shown.stdout.splitlines()]
    bodies = [{"temperature": 21.5}, {"temperature": 22}, {"certificate": 0}, {"certificate": 1}]
    assert [event["body"] for event in events] == bodies
    assert events[0]["properties"] == {"room": "a b"}
    assert {event["deviceId"] for event in events} == {device}


def test_device_of_a_symmetric_key_group_gets_a_certificate(emulator: RunningEmulator, tmp_path: Path) -> None:
    """Its key opens DPS only: at the hub the issued certificate counts, and the key no longer does."""
    device, key = "plain-key", p256()
    own_key = derived_key(emulator.group_key(), device)
    answer = onboard(emulator, tls_context(emulator.ca_file), device, key, symmetric_key=own_key)
    chain = certificates_of(answer.state["issuedCertificateChain"])
    assert_chain(chain, device, key, tmp_path)
    with connect_to_hub(emulator, keep(tmp_path, "issued", chain, key), device) as hub:
        hub.send_telemetry({"number": 1})
    assert [event["body"] for event in emulator.events(device)] == [{"number": 1}]
    by_key = HubClient.make(emulator.mqtt_port, tls_context(emulator.ca_file), "localhost", device, own_key)
    assert by_key.connect() == 5


@pytest.mark.parametrize("key_type", ["P-384", "P-521", "RSA-2048"])
def test_other_key_types_are_certified_and_renewed(emulator: RunningEmulator, tmp_path: Path, key_type: str) -> None:
    """DPS and hub sign what devices in the field have."""
    device, first, second = f"plain-{key_type.lower()}", KEYS[key_type](), KEYS[key_type]()
    onboarding = emulator.onboarding_pair(device, tmp_path)
    answer = onboard(emulator, tls_context(emulator.ca_file, onboarding), device, first)
    chain = certificates_of(answer.state["issuedCertificateChain"])
    assert_chain(chain, device, first, tmp_path)
    with connect_to_hub(emulator, keep(tmp_path, "first", chain, first), device) as hub:
        hub.subscribe("$iothub/credentials/res/#")
        renewed = hub.renew(second)
    assert_chain(renewed, device, second, tmp_path)
    connect_to_hub(emulator, keep(tmp_path, "second", renewed, second), device).close()


def test_preview_of_2021_takes_and_gives_pem(emulator: RunningEmulator, tmp_path: Path) -> None:
    """`clientCertificateCsr` and `issuedClientCertificate` are PEM texts; the leaf alone opens the hub."""
    device, key = "plain-2021", p256()
    context = tls_context(emulator.ca_file, emulator.onboarding_pair(device, tmp_path))
    scope, version = emulator.id_scope(), "2021-11-01-preview"
    with DpsClient.make(emulator.mqtt_port, context, scope, device, api_version=version).connected() as dps:
        csr = csr_of(device, key).public_bytes(Encoding.PEM).decode()
        answer = dps.onboard({"registrationId": device, "clientCertificateCsr": csr})
    assert answer.body["status"] == "assigned"
    assert "issuedCertificateChain" not in answer.state
    leaf = x509.load_pem_x509_certificate(answer.state["issuedClientCertificate"].encode())
    assert leaf.public_key() == key.public_key()
    pair = Pair.write(tmp_path, "issued", pem_of(leaf), key_pem(key))
    with connect_to_hub(emulator, pair, device) as hub:
        hub.send_telemetry({"since": 2021})
    assert len(emulator.events(device)) == 1


@pytest.mark.parametrize(
    ("restrict", "version", "server_key"),
    [
        (tls_1_2_only, "TLSv1.2", ec.EllipticCurvePublicKey),
        (tls_1_3_only, "TLSv1.3", ec.EllipticCurvePublicKey),
        (rsa_only, "TLSv1.2", rsa.RSAPublicKey),
    ],
    ids=["tls-1.2", "tls-1.3", "rsa"],
)
def test_client_with_a_narrow_tls_stack_onboards(
    emulator: RunningEmulator,
    tmp_path: Path,
    restrict: Callable[[ssl.SSLContext], None],
    version: str,
    server_key: type,
) -> None:
    """What the client can is enough, for DPS and hub: TLS 1.2 or 1.3, and RSA only where firmware knows no ECDSA."""
    device, key = f"plain-{restrict.__name__.replace('_', '-')}", p256()
    context = tls_context(emulator.ca_file, emulator.onboarding_pair(device, tmp_path))
    restrict(context)
    answer = onboard(emulator, context, device, key)
    chain = certificates_of(answer.state["issuedCertificateChain"])
    context = tls_context(emulator.ca_file, keep(tmp_path, "issued", chain, key))
    restrict(context)
    with HubClient.make(emulator.mqtt_port, context, "localhost", device).connected() as hub:
        assert hub.socket.version() == version
        shown = hub.socket.getpeercert(binary_form=True)
        assert shown is not None
        assert isinstance(x509.load_der_x509_certificate(shown).public_key(), server_key)
        hub.send_telemetry({"tls": version})
    assert len(emulator.events(device)) == 1


@pytest.mark.parametrize("path", ["/$iothub/websocket", "/"], ids=["iothub-path", "root-path"])
def test_device_onboards_over_websocket(emulator: RunningEmulator, tmp_path: Path, path: str) -> None:
    """Both paths that SDKs ask for lead to the broker; the certificate of the TLS handshake counts there too."""
    device, key = f"plain-ws{len(path)}", p256()
    context = tls_context(emulator.ca_file, emulator.onboarding_pair(device, tmp_path))
    answer = onboard(emulator, context, device, key, port=emulator.https_port, websocket_path=path)
    chain = certificates_of(answer.state["issuedCertificateChain"])
    context = tls_context(emulator.ca_file, keep(tmp_path, "issued", chain, key))
    hub = HubClient.make(emulator.https_port, context, "localhost", device, websocket_path=path)
    with hub.connected():
        hub.send_telemetry({"path": path})
        hub.subscribe("$iothub/credentials/res/#")
        assert len(hub.renew(p256())) == 3
    assert [event["body"] for event in emulator.events(device)] == [{"path": path}]


def test_poll_is_told_to_wait_while_the_device_is_being_assigned(start: Any, tmp_path: Path) -> None:
    """With an assigning delay a poll gets 202 with `registrationState` and retry-after, then 200 with the chain."""
    emulator = start(config=SLOW_DPS)
    device, key = "plain-slow", p256()
    context = tls_context(emulator.ca_file, emulator.onboarding_pair(device, tmp_path))
    with DpsClient.make(emulator.mqtt_port, context, emulator.id_scope(), device).connected() as dps:
        accepted = dps.register({"csr": csr_text(device, key)})
        assert (accepted.status, accepted.retry_after) == (202, 1)
        operation = accepted.body["operationId"]
        assigning = dps.poll(operation)
        assert (assigning.status, assigning.retry_after) == (202, 1)
        assert assigning.state == {"registrationId": device, "status": "assigning"}
        again = dps.register({"csr": csr_text(device, p256())})
        assert again.status == 409
        answer = dps.onboard_from(operation)
    assert_chain(certificates_of(answer.state["issuedCertificateChain"]), device, key, tmp_path)


@pytest.mark.parametrize(
    ("csr", "status", "code"),
    [("not base64!", 400, 400012), (csr_text("somebody-else", p256()), 200, 400040)],
    ids=["not-base64", "another-name"],
)
def test_bad_csr_is_refused_by_its_rule(
    emulator: RunningEmulator, tmp_path: Path, csr: str, status: int, code: int
) -> None:
    """What cannot be read is answered at once, what breaks a rule is the outcome of the registration."""
    context = tls_context(emulator.ca_file, emulator.onboarding_pair("plain-bad-csr", tmp_path))
    with DpsClient.make(emulator.mqtt_port, context, emulator.id_scope(), "plain-bad-csr").connected() as dps:
        answer = dps.register({"csr": csr})
        if answer.status == 202:
            answer = dps.poll(answer.body["operationId"])
            assert answer.body["status"] == "failed"
            answer = Answer(answer.status, "", None, answer.state)
    assert (answer.status, answer.body["errorCode"]) == (status, code)


def test_subscription_of_a_persistent_session_is_found_again(emulator: RunningEmulator, tmp_path: Path) -> None:
    """A device that comes back with CleanSession 0 renews without subscribing again; with 1 it starts anew."""
    device, key = "plain-session", p256()
    context = tls_context(emulator.ca_file, emulator.onboarding_pair(device, tmp_path))
    chain = certificates_of(onboard(emulator, context, device, key).state["issuedCertificateChain"])
    pair = keep(tmp_path, "issued", chain, key)
    with connect_to_hub(emulator, pair, device, clean_session=False) as hub:
        assert not hub.session_present
        hub.subscribe("$iothub/credentials/res/#")
    with connect_to_hub(emulator, pair, device, clean_session=False) as hub:
        assert hub.session_present
        assert len(hub.renew(p256())) == 3
    with connect_to_hub(emulator, pair, device) as hub:
        assert not hub.session_present


async def test_aiomqtt_client_onboards_and_sends_telemetry(emulator: RunningEmulator, tmp_path: Path) -> None:
    """The same flow from another library, in asyncio."""
    device, key = "plain-aiomqtt", p256()
    context = tls_context(emulator.ca_file, emulator.onboarding_pair(device, tmp_path))
    prefix = "$dps/registrations"
    async with aiomqtt.Client(
        "localhost", emulator.mqtt_port, identifier=device, protocol=aiomqtt.ProtocolVersion.V311, tls_context=context,
        username=f"{emulator.id_scope()}/registrations/{device}/api-version=2025-07-01-preview",
    ) as dps:  # fmt: skip
        await dps.subscribe(f"{prefix}/res/#", qos=1)
        body = json.dumps({"csr": csr_text(device, key)})
        await dps.publish(f"{prefix}/PUT/iotdps-register/?$rid=1", body, qos=1)
        answers = aiter(dps.messages)
        accepted = await anext(answers)
        operation = json.loads(accepted.payload)["operationId"]
        await dps.publish(f"{prefix}/GET/iotdps-get-operationstatus/?$rid=2&operationId={operation}", b"", qos=1)
        final = await anext(answers)
    answer = Answer.of(str(final.topic), final.payload)
    pair = keep(tmp_path, "issued", certificates_of(answer.state["issuedCertificateChain"]), key)
    async with aiomqtt.Client(
        "localhost", emulator.mqtt_port, identifier=device, protocol=aiomqtt.ProtocolVersion.V311,
        tls_context=tls_context(emulator.ca_file, pair), username=f"localhost/{device}/?api-version={HUB_API_VERSION}",
    ) as hub:  # fmt: skip
        await hub.publish(f"devices/{device}/messages/events/", b"plain text", qos=1)
    assert [event["body"] for event in emulator.events(device)] == ["plain text"]
