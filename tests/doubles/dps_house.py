"""A DPS without sockets: two hubs, a namespace, a factory CA, and devices joined to its gateway in memory."""

import base64
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from adr.registry import AdrRegistry
from adr.store import Store
from broker.gateway import Action, Close, ConnectRequest, Publish, Refusal
from certs.authority import CertificateAuthority
from certs.keyfile import MemoryKeyStore
from certs.keys import KeyType, PrivateKey, generate_key
from certs.peer import PeerChain
from dps.attestation_mechanism import (
    EnrolledCertificate,
    SymmetricKeyAttestation,
    X509ClientCertificates,
    X509SigningCertificates,
)
from dps.enrollment import Enrollment, EnrollmentGroup, IndividualEnrollment
from dps.gateway import DpsGateway
from dps.service import DpsSettings, ProvisioningService
from dps.session import DpsSession
from hub.hub import Hub, HubSettings
from hub.sas import derive_device_key, format_sas_token

NOW = datetime(2026, 11, 23, 10, 0, 0, 123456, tzinfo=UTC)
SCOPE = "0ne00ABCDEF"
DEVICE = "sensor-001"
CSR_VERSION = "2025-07-01-preview"
GROUP_KEY = base64.b64encode(bytes(range(64))).decode()
OTHER_KEY = base64.b64encode(bytes(range(64, 128))).decode()
YEAR = timedelta(days=365)


def enrolled(certificate: x509.Certificate) -> EnrolledCertificate:
    """A certificate as an enrollment holds it."""
    return EnrolledCertificate(certificate.public_bytes(Encoding.DER))


def chain_of(*certificates: x509.Certificate) -> PeerChain:
    """What a handshake with these certificates presents."""
    return PeerChain(tuple(certificate.public_bytes(Encoding.DER) for certificate in certificates))


def csr_for(common_name: str, key: PrivateKey | None = None) -> bytes:
    """A DER CSR, by a new P-256 key unless one is given."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.sign(key or generate_key(KeyType.P256), hashes.SHA256()).public_bytes(Encoding.DER)


def body_with_csr(common_name: str = DEVICE, key: PrivateKey | None = None) -> bytes:
    """A register body that asks for a certificate."""
    csr = base64.b64encode(csr_for(common_name, key)).decode()
    return json.dumps({"registrationId": common_name, "csr": csr}).encode()


def token_for(key: str, registration_id: str = DEVICE, *, slash: str = "%2F", expires_at: int = 1795431600) -> bytes:
    """A SAS token of one device, signed with its own key."""
    resource = f"{SCOPE}{slash}registrations{slash}{registration_id}"
    return format_sas_token(resource, key, expires_at, "registration").encode()


def group_token(registration_id: str = DEVICE, expires_at: datetime | None = None) -> bytes:
    """A SAS token of a device of the group that `DpsHouse.add_key_group` makes."""
    key = derive_device_key(GROUP_KEY, registration_id)
    if expires_at is None:
        return token_for(key, registration_id)
    return token_for(key, registration_id, expires_at=int(expires_at.timestamp()))


@dataclass(frozen=True)
class Factory:
    """Somebody else's CA: a root, an intermediate, and what they sign."""

    root: CertificateAuthority
    intermediate: CertificateAuthority

    @classmethod
    def make(cls, name: str = "Factory", now: datetime = NOW) -> "Factory":
        """Make both CAs, P-256."""
        root = CertificateAuthority.create_root(f"{name} Root", now, key_type=KeyType.P256)
        return cls(root, root.issue_intermediate(f"{name} CA", now, key_type=KeyType.P256))

    def leaf(self, common_name: str, now: datetime = NOW, validity: timedelta = YEAR) -> x509.Certificate:
        """Sign an onboarding certificate."""
        key = generate_key(KeyType.P256).public_key()
        return self.intermediate.issue_onboarding(common_name, key, now, validity=validity)

    def chain(self, common_name: str, now: datetime = NOW) -> PeerChain:
        """What a device of this factory presents: its leaf and the intermediate."""
        return chain_of(self.leaf(common_name, now), self.intermediate.certificate)


@dataclass(frozen=True)
class Answer:
    """One message from DPS, taken apart."""

    status: int
    topic: str
    body: dict[str, Any]
    qos: int

    @classmethod
    def of(cls, message: Publish) -> "Answer":
        """Read a message the way every client does."""
        status = int(message.topic.split("/")[3])
        return cls(status, message.topic, json.loads(message.payload.decode("ascii")), message.qos)

    @property
    def state(self) -> dict[str, Any]:
        """The `registrationState`."""
        state: dict[str, Any] = self.body["registrationState"]
        return state


@dataclass
class Device:
    """The device end of a connection: sends packets to the gateway and reads what comes back."""

    gateway: DpsGateway
    store: Store
    session: DpsSession
    now: datetime = NOW
    request_count: int = 0
    messages: list[Publish] = field(default_factory=list)
    closed: str | None = None

    def perform(self, actions: list[Action]) -> None:
        """Do what the broker does: commit, then carry out."""
        self.store.commit()
        for action in actions:
            assert action.session_key == self.session.key
            if isinstance(action, Close):
                self.closed = action.reason
            else:
                self.messages.append(action)

    def publish(self, topic: str, payload: bytes = b"", qos: int = 1) -> None:
        """Send one PUBLISH."""
        self.perform(self.gateway.receive(self.session, topic, payload, qos, retain=False, dup=False, now=self.now))

    def subscribe(self, qos: int = 1) -> None:
        """Subscribe to the answers."""
        self.perform(self.gateway.subscribed(self.session, [("$dps/registrations/res/#", qos)], self.now))

    def register(self, body: bytes = b"") -> Answer:
        """Register and return the answer."""
        self.request_count += 1
        self.publish(f"$dps/registrations/PUT/iotdps-register/?$rid={self.request_count}", body)
        return Answer.of(self.messages[-1])

    def poll(self, operation_id: str) -> Answer:
        """Poll and return the answer."""
        self.request_count += 1
        topic = "$dps/registrations/GET/iotdps-get-operationstatus/"
        self.publish(f"{topic}?$rid={self.request_count}&operationId={operation_id}", b" ")
        return Answer.of(self.messages[-1])

    def onboard(self, body: bytes = b"") -> Answer:
        """Register, poll once, and return the final answer."""
        accepted = self.register(body)
        assert accepted.status == 202, accepted
        return self.poll(accepted.body["operationId"])


class DpsHouse:
    """A DPS linked to namespace `factory` (policy `default`) and to two hubs, and what its tests need around it."""

    def __init__(self, store: Store, **settings: Any) -> None:
        self.store = store
        self.adr = AdrRegistry(store, MemoryKeyStore())
        self.adr.create_namespace("factory", NOW)
        self.adr.create_policy("factory", "default", NOW)
        self.hubs: dict[str, Hub] = {}
        for name in ("hub1", "hub2"):
            self.add_hub(name)
        fields = {"name": "dps", "id_scope": SCOPE, "namespace": "factory", **settings}
        self.settings = DpsSettings(**fields)
        self.service = self.restarted()
        self.factory = Factory.make()

    def restarted(self) -> ProvisioningService:
        """The same DPS on what the store has."""
        self.service = ProvisioningService(self.settings, self.store, self.adr, self.hubs)
        return self.service

    def add_hub(self, name: str, namespace: str | None = "factory") -> Hub:
        """Link one more hub, `{name}.example`."""
        hub = Hub(HubSettings(name=name, host_name=f"{name}.example", namespace=namespace), self.store, self.adr)
        self.hubs[f"{name}.example"] = hub
        return hub

    def add_x509_group(self, name: str = "factory", factory: Factory | None = None, **members: Any) -> EnrollmentGroup:
        """Enroll everything that a factory's root signs."""
        root = (factory or self.factory).root.certificate
        attestation = X509SigningCertificates(enrolled(root))
        return self.put_group(EnrollmentGroup(enrollment_group_id=name, attestation=attestation, **members))

    def add_key_group(self, name: str = "keys", **members: Any) -> EnrollmentGroup:
        """Enroll every device whose key is derived from GROUP_KEY or OTHER_KEY."""
        attestation = SymmetricKeyAttestation(GROUP_KEY, OTHER_KEY)
        return self.put_group(EnrollmentGroup(enrollment_group_id=name, attestation=attestation, **members))

    def add_key_device(self, registration_id: str = DEVICE, **members: Any) -> IndividualEnrollment:
        """Enroll one device with GROUP_KEY and OTHER_KEY as its own keys."""
        attestation = SymmetricKeyAttestation(GROUP_KEY, OTHER_KEY)
        return self.put_individual(
            IndividualEnrollment(registration_id=registration_id, attestation=attestation, **members)
        )

    def add_x509_device(self, leaf: x509.Certificate, registration_id: str = DEVICE, **members: Any) -> Enrollment:
        """Enroll one device by its leaf."""
        attestation = X509ClientCertificates(enrolled(leaf))
        return self.put_individual(
            IndividualEnrollment(registration_id=registration_id, attestation=attestation, **members)
        )

    def put_group(self, group: EnrollmentGroup, now: datetime = NOW) -> EnrollmentGroup:
        """Store a group."""
        return self.service.enrollments.groups.put(group, now)

    def put_individual(self, enrollment: IndividualEnrollment, now: datetime = NOW) -> IndividualEnrollment:
        """Store an individual enrollment."""
        return self.service.enrollments.individuals.put(enrollment, now)

    def change_group(self, name: str, **members: Any) -> EnrollmentGroup:
        """Change a stored group."""
        return self.put_group(replace(self.service.enrollments.groups.get(name), **members))

    def request(self, registration_id: str = DEVICE, api_version: str = CSR_VERSION, **changes: Any) -> ConnectRequest:
        """A CONNECT of this device, without credentials unless `changes` has some."""
        fields: dict[str, Any] = {
            "client_id": registration_id,
            "user_name": f"{SCOPE}/registrations/{registration_id}/api-version={api_version}&ClientVersion=test%2F1",
            "password": None,
            "clean_session": True,
            "keep_alive_seconds": 60,
            "will": None,
            "peer_chain": PeerChain(),
            "remote": "192.0.2.1:50000",
        }
        return ConnectRequest(**{**fields, **changes})

    def connect(self, registration_id: str = DEVICE, *, now: datetime = NOW, **changes: Any) -> Device:
        """Connect a device that must be accepted, and subscribe it to its answers."""
        session = self.service.gateway.connect(self.request(registration_id, **changes), now)
        assert isinstance(session, DpsSession), session
        device = Device(self.service.gateway, self.store, session, now)
        device.perform(self.service.gateway.opened(session, now))
        device.subscribe()
        return device

    def refusal(self, registration_id: str = DEVICE, **changes: Any) -> Refusal:
        """Connect a device that must be refused."""
        refusal = self.service.gateway.connect(self.request(registration_id, **changes), NOW)
        assert isinstance(refusal, Refusal), refusal
        return refusal

    def tick(self, now: datetime) -> None:
        """Let the second go by in which deadlines are looked at."""
        assert self.service.gateway.tick(now) == []
        self.store.commit()
