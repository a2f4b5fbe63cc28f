"""A device on paho-mqtt: what any MQTT 3.1.1 client does with Azure's documents in hand, and nothing of ours."""

import base64
import hashlib
import hmac
import json
import queue
import re
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote
from uuid import uuid4

import paho.mqtt.client as paho
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

ANSWER_SECONDS = 10.0
DPS_API_VERSION = "2025-07-01-preview"
HUB_API_VERSION = "2025-08-01-preview"
# paho tells MQTT 3.1.1 return codes by the MQTT 5 reason codes next to them.
CONNACK_CODES = {0: 0, 132: 1, 133: 2, 136: 3, 134: 4, 135: 5}
RESPONSE = re.compile(r".*/res/(?P<status>\d+)/\?\$rid=(?P<rid>[^&]+)(?:&retry-after=(?P<retry_after>\d+))?")

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Pair:
    """A certificate chain, leaf first, and the leaf's key, as the files a TLS library wants."""

    chain_file: Path
    key_file: Path

    @classmethod
    def write(cls, directory: Path, name: str, chain: bytes, key: bytes) -> Self:
        """Write PEM texts into a directory."""
        pair = cls(directory / f"{name}.chain.pem", directory / f"{name}.key.pem")
        directory.mkdir(exist_ok=True)
        pair.chain_file.write_bytes(chain)
        pair.key_file.write_bytes(key)
        return pair

    @property
    def chain(self) -> list[x509.Certificate]:
        return x509.load_pem_x509_certificates(self.chain_file.read_bytes())

    @property
    def leaf(self) -> x509.Certificate:
        return self.chain[0]


def p256() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def csr_of(common_name: str, key: Key) -> x509.CertificateSigningRequest:
    """Make a CSR as any PKI toolkit does."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    return x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())


def csr_text(common_name: str, key: Key) -> str:
    """Write a CSR as DPS and hub take it: base64 of DER, one line."""
    return base64.b64encode(csr_of(common_name, key).public_bytes(Encoding.DER)).decode()


def pem_of(*certificates: x509.Certificate) -> bytes:
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


def key_pem(key: Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def certificates_of(texts: list[str]) -> list[x509.Certificate]:
    """Read a chain as it comes over the wire."""
    return [x509.load_der_x509_certificate(base64.b64decode(text, validate=True)) for text in texts]


def derived_key(group_key: str, registration_id: str) -> str:
    """Derive a device's key from its group's (Microsoft Learn, symmetric key attestation)."""
    digest = hmac.digest(base64.b64decode(group_key), registration_id.encode(), hashlib.sha256)
    return base64.b64encode(digest).decode()


def sas_token(resource: str, key: str, *, expires_at: int | None = None, policy: str = "") -> str:
    """Write a SAS token for a resource that is not encoded yet; valid for an hour without `expires_at`."""
    encoded, expiry = quote(resource, safe=""), expires_at or int(time.time()) + 3600
    digest = hmac.digest(base64.b64decode(key), f"{encoded}\n{expiry}".encode(), hashlib.sha256)
    signature = quote(base64.b64encode(digest).decode(), safe="")
    return f"SharedAccessSignature sr={encoded}&sig={signature}&se={expiry}{f'&skn={policy}' if policy else ''}"


def tls_context(ca_file: Path, pair: Pair | None = None) -> ssl.SSLContext:
    """Trust one CA file, and show one certificate."""
    context = ssl.create_default_context(cafile=str(ca_file))
    if pair is not None:
        context.load_cert_chain(pair.chain_file, pair.key_file)
    return context


@dataclass(frozen=True)
class Answer:
    """A message on a `…/res/{status}/?$rid=…` topic, taken apart."""

    status: int
    request_id: str
    retry_after: int | None
    body: Any

    @classmethod
    def of(cls, topic: str, payload: bytes) -> Self:
        found = RESPONSE.fullmatch(topic)
        assert found is not None, topic
        retry_after = found["retry_after"]
        return cls(int(found["status"]), found["rid"], int(retry_after) if retry_after else None, json.loads(payload))

    @property
    def state(self) -> dict[str, Any]:
        """The `registrationState`."""
        state: dict[str, Any] = self.body["registrationState"]
        return state


class PlainClient:
    """One MQTT connection; every wait ends after ten seconds."""

    def __init__(
        self,
        port: int,
        context: ssl.SSLContext,
        client_id: str,
        user_name: str,
        password: str | None = None,
        *,
        clean_session: bool = True,
        websocket_path: str = "",
    ) -> None:
        self._port = port
        transport = "websockets" if websocket_path else "tcp"
        self._client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id, clean_session, protocol=paho.MQTTv311,
            transport=transport, reconnect_on_failure=False,
        )  # fmt: skip
        if websocket_path:
            self._client.ws_set_options(websocket_path)
        self._client.tls_set_context(context)
        self._client.username_pw_set(user_name, password)
        self._client.on_connect = self._connected
        self._client.on_connect_fail = self._ended
        self._client.on_disconnect = self._ended
        self._client.on_subscribe = self._subscribed
        self._client.on_unsubscribe = self._subscribed
        self._client.on_message = self._heard
        self._connack: queue.Queue[int | None] = queue.Queue()
        self._subacks: queue.Queue[list[int]] = queue.Queue()
        self.messages: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.session_present = False
        self._lost = threading.Event()

    # --- callbacks ---

    def _connected(self, _client: Any, _data: Any, flags: Any, reason: Any, _properties: Any) -> None:
        self.session_present = flags.session_present
        self._connack.put(CONNACK_CODES[reason.value])

    def _ended(self, *_details: Any) -> None:
        self._lost.set()
        self._connack.put(None)

    def _subscribed(self, _client: Any, _data: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        self._subacks.put([each.value for each in reasons])

    def _heard(self, _client: Any, _data: Any, message: Any) -> None:
        self.messages.put((message.topic, message.payload))

    # --- what a device does ---

    def connect(self) -> int | None:
        """Connect and return CONNACK's return code, None when the server just closed.

        Raises:
            ssl.SSLError: the handshake failed.
        """
        self._client.connect("localhost", self._port, keepalive=60)
        self._client.loop_start()
        code = self._connack.get(timeout=ANSWER_SECONDS)
        if code != 0:
            assert self.wait_closed(), f"CONNACK {code}, and the connection stays open"
            self._end()
        return code

    def connected(self) -> Self:
        """Connect where that has to work."""
        code = self.connect()
        assert code == 0, f"CONNACK {code}"
        return self

    def subscribe(self, topic_filter: str, qos: int = 1) -> list[int]:
        """Subscribe and return the granted QoS."""
        self._client.subscribe(topic_filter, qos)
        return self._subacks.get(timeout=ANSWER_SECONDS)

    def unsubscribe(self, topic_filter: str) -> None:
        self._client.unsubscribe(topic_filter)
        self._subacks.get(timeout=ANSWER_SECONDS)

    def publish(self, topic: str, body: bytes = b"", qos: int = 1) -> None:
        """Publish, and wait for the PUBACK."""
        sent = self._client.publish(topic, body, qos)
        sent.wait_for_publish(ANSWER_SECONDS)
        assert sent.is_published(), f"no PUBACK for {topic}"

    def publish_and_forget(self, topic: str, body: bytes = b"", qos: int = 1) -> paho.MQTTMessageInfo:
        """Publish what is not expected to be acknowledged."""
        return self._client.publish(topic, body, qos)

    def answer(self) -> Answer:
        """The next message, which has to be an answer."""
        return Answer.of(*self.messages.get(timeout=ANSWER_SECONDS))

    def subscribe_and_forget(self, topic_filter: str) -> None:
        """Subscribe where no SUBACK is expected."""
        self._client.subscribe(topic_filter, 1)

    @property
    def is_connected(self) -> bool:
        return not self._lost.is_set()

    def wait_closed(self) -> bool:
        """Wait until the server has closed the connection."""
        return self._lost.wait(ANSWER_SECONDS)

    @property
    def socket(self) -> ssl.SSLSocket:
        socket = self._client.socket()
        assert isinstance(socket, ssl.SSLSocket)
        return socket

    def close(self) -> None:
        """Say DISCONNECT."""
        self._client.disconnect()
        self._end()

    def _end(self) -> None:
        """Stop paho's thread and leave no cycle: in one its sockets may be collected before it closes them."""
        self._client.loop_stop()
        for name in ("on_connect", "on_connect_fail", "on_disconnect", "on_subscribe", "on_unsubscribe", "on_message"):
            setattr(self._client, name, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class DpsClient(PlainClient):
    """A connection to DPS."""

    @classmethod
    def make(
        cls, port: int, context: ssl.SSLContext, id_scope: str, registration_id: str, symmetric_key: str = "",
        *, api_version: str = DPS_API_VERSION, **options: Any,
    ) -> Self:  # fmt: skip
        """Make one that authenticates by certificate, or by a symmetric key if one is given."""
        password = None
        if symmetric_key:
            password = sas_token(f"{id_scope}/registrations/{registration_id}", symmetric_key, policy="registration")
        user_name = f"{id_scope}/registrations/{registration_id}/api-version={api_version}&ClientVersion=paho%2F2"
        return cls(port, context, registration_id, user_name, password, **options)

    def connected(self) -> Self:
        """Connect and subscribe to the answers."""
        super().connected()
        assert self.subscribe("$dps/registrations/res/#") == [1]
        return self

    def register(self, body: Mapping[str, Any]) -> Answer:
        """Send a registration and return the first answer."""
        return self._ask("PUT/iotdps-register/", "", json.dumps(body).encode())

    def poll(self, operation_id: str) -> Answer:
        """Ask how an operation stands."""
        return self._ask("GET/iotdps-get-operationstatus/", f"&operationId={operation_id}", b" ")

    def onboard(self, body: Mapping[str, Any]) -> Answer:
        """Register and poll, waiting as told, until there is an outcome.

        The first poll comes at once: Azure allows that, and a test has better things to do than to wait.
        """
        accepted = self.register(body)
        assert accepted.status == 202, accepted
        assert accepted.retry_after is not None, accepted
        assert accepted.body["status"] == "assigning"
        return self.onboard_from(accepted.body["operationId"])

    def onboard_from(self, operation_id: str) -> Answer:
        """Poll an operation, waiting as told, until there is an outcome."""
        answer = self.poll(operation_id)
        while answer.status == 202:
            assert answer.retry_after is not None, answer
            time.sleep(answer.retry_after)
            answer = self.poll(operation_id)
        assert answer.body["operationId"] == operation_id
        return answer

    def _ask(self, path: str, more: str, body: bytes) -> Answer:
        request_id = str(uuid4())
        self.publish(f"$dps/registrations/{path}?$rid={request_id}{more}", body)
        answer = self.answer()
        assert answer.request_id == request_id
        return answer


class HubClient(PlainClient):
    """A connection to a hub."""

    @classmethod
    def make(
        cls, port: int, context: ssl.SSLContext, hub: str, device_id: str, symmetric_key: str = "",
        *, api_version: str = HUB_API_VERSION, **options: Any,
    ) -> Self:  # fmt: skip
        """Make one that authenticates by certificate, or by a symmetric key if one is given."""
        password = sas_token(f"{hub}/devices/{device_id}", symmetric_key) if symmetric_key else None
        user_name = f"{hub}/{device_id}/?api-version={api_version}&DeviceClientType=paho%2F2"
        made = cls(port, context, device_id, user_name, password, **options)
        made.device_id = device_id
        return made

    device_id: str

    def send_telemetry(self, body: Mapping[str, Any], properties: str = "") -> None:
        """Send one message and wait until the hub has it."""
        bag = f"$.ct=application%2Fjson&$.ce=utf-8{f'&{properties}' if properties else ''}"
        self.publish(f"devices/{self.device_id}/messages/events/{bag}", json.dumps(body).encode())

    def request_certificate(self, csr: str) -> Answer:
        """Ask for the next certificate and return the first answer."""
        request_id = str(uuid4())
        body = json.dumps({"id": self.device_id, "csr": csr}).encode()
        self.publish(f"$iothub/credentials/POST/issueCertificate/?$rid={request_id}", body)
        answer = self.answer()
        assert answer.request_id == request_id
        return answer

    def renew(self, key: Key) -> list[x509.Certificate]:
        """Have the next certificate issued: 202, then 200 with the chain, leaf first."""
        accepted = self.request_certificate(csr_text(self.device_id, key))
        assert accepted.status == 202, accepted
        done = self.answer()
        assert (done.status, done.request_id) == (200, accepted.request_id), done
        assert done.body["correlationId"] == accepted.body["correlationId"]
        return certificates_of(done.body["certificates"])
