"""A load of devices that onboard: from the onboarding certificate to the first message as a device of the hub."""

import base64
import json
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from bench.client import HOST, Client, Dialer, Refused
from bench.connects import open_hub_connection
from bench.fleet import Device
from bench.messages import PAYLOAD
from broker.packets import Packet, Puback, Publish, Suback, Subscribe

API_VERSION = "2025-07-01-preview"
RESPONSES = "$dps/registrations/res/#"
REGISTER = "$dps/registrations/PUT/iotdps-register/?$rid=1"
POLL = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId={operation_id}"


@dataclass(frozen=True, slots=True)
class Onboarder:
    """A device with its onboarding certificate, and its registration made beforehand: only the server is measured."""

    onboarding: Device
    registration: bytes

    @classmethod
    def of(cls, onboarding: Device) -> "Onboarder":
        """Make the certificate signing request; the operational key is the onboarding key."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, onboarding.device_id)])
        assert isinstance(onboarding.key, ec.EllipticCurvePrivateKey)
        csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(onboarding.key, hashes.SHA256())
        body = {
            "registrationId": onboarding.device_id,
            "csr": base64.b64encode(csr.public_bytes(Encoding.DER)).decode(),
        }
        return cls(onboarding, json.dumps(body).encode())


async def onboard(dialer: Dialer, port: int, id_scope: str, onboarder: Onboarder) -> Device:
    """Register with DPS, connect to the hub with the issued certificate, send one message, leave.

    Raises:
        Refused: the service did not assign the device.
    """
    device = await _register(dialer, port, id_scope, onboarder)
    client = await open_hub_connection(dialer, port, device)
    answer = await client.ask(Publish(f"devices/{device.device_id}/messages/events/", PAYLOAD, qos=1, packet_id=1))
    if answer != Puback(1):
        raise Refused(f"{device.device_id}: {answer} instead of a PUBACK")
    await client.leave()
    return device


async def _register(dialer: Dialer, port: int, id_scope: str, onboarder: Onboarder) -> Device:
    onboarding = onboarder.onboarding
    client = Client()
    await dialer.open(port, client, onboarding.leaf, onboarding.issuing_ca, onboarding.key)
    user_name = f"{id_scope}/registrations/{onboarding.device_id}/api-version={API_VERSION}"
    await client.connect(onboarding.device_id, user_name)
    if not isinstance(await client.ask(Subscribe(1, ((RESPONSES, 1),))), Suback):
        raise Refused(f"{HOST}: no SUBACK")
    assigned = await _until_assigned(client, onboarder.registration)
    await client.leave()
    chain = [x509.load_der_x509_certificate(base64.b64decode(each)) for each in assigned["issuedCertificateChain"]]
    return Device(assigned["deviceId"], onboarding.key, *chain)


async def _until_assigned(client: Client, registration: bytes) -> dict[str, Any]:
    client.send(Publish(REGISTER, registration, qos=1, packet_id=2))
    status, body = await _response(client)
    polls = 0
    while status == 202:
        polls += 1
        client.send(Publish(POLL.format(operation_id=body["operationId"]), b" ", qos=1, packet_id=2 + polls))
        status, body = await _response(client)
    if status != 200 or body["status"] != "assigned":
        raise Refused(f"DPS answers {status}: {body}")
    state: dict[str, Any] = body["registrationState"]
    return state


async def _response(client: Client) -> tuple[int, dict[str, Any]]:
    """Return the next answer's status and body, with its PUBACK sent; PUBACKs for us go by."""
    packet: Packet = await client.receive()
    while isinstance(packet, Puback):
        packet = await client.receive()
    if not isinstance(packet, Publish):
        raise Refused(f"{packet} instead of an answer of DPS")
    if packet.packet_id is not None:
        client.send(Puback(packet.packet_id))
    body: dict[str, Any] = json.loads(packet.payload)
    return int(packet.topic.split("/")[3]), body
