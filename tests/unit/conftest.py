"""A hub without sockets: its store, its namespace, and devices joined to its gateway in memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from adr.registry import AdrRegistry
from broker.gateway import Action, Close, ConnectRequest, Publish, Refusal, Will
from certs.csr import parse_csr
from certs.keyfile import MemoryKeyStore
from certs.keys import KeyType, PrivateKey, generate_key
from certs.peer import PeerChain
from emulator.store import SqliteStore
from hub.hub import Hub, HubSettings
from hub.identity import Authentication, AuthenticationType
from hub.session import HubSession

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def csr_for(common_name: str, key: PrivateKey | None = None) -> bytes:
    """A DER CSR by a P-256 key."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    key = key or generate_key(KeyType.P256)
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )


@dataclass
class Device:
    """The device end of a connection: sends packets to the gateway and keeps what comes back.

    It does what the broker promises: commits before anything goes out, drops publishes to others or after a close,
    and acknowledges unless `silent`.
    """

    hub: Hub
    store: SqliteStore
    session: HubSession
    now: datetime = NOW
    silent: bool = False
    received: list[Publish] = field(default_factory=list)
    closed: str | None = None

    def perform(self, actions: list[Action]) -> None:
        self.store.commit()
        for action in actions:
            if self.closed is not None or action.session_key != self.session.key:
                continue
            if isinstance(action, Close):
                self.closed = action.reason
            else:
                self.received.append(action)
                if action.token and not self.silent:
                    self.acknowledge(action)

    def acknowledge(self, message: Publish) -> None:
        self.perform(self.hub.gateway.acknowledged(self.session, message.token, self.now))

    def subscribe(self, *topic_filters: str, qos: int = 1) -> None:
        assert all(self.hub.gateway.may_subscribe(self.session, name) for name in topic_filters)
        granted = [(name, qos) for name in topic_filters]
        self.perform(self.hub.gateway.subscribed(self.session, granted, self.now))

    def unsubscribe(self, *topic_filters: str) -> None:
        self.perform(self.hub.gateway.unsubscribed(self.session, topic_filters, self.now))

    def publish(self, topic: str, payload: bytes = b"", qos: int = 1, *, retain: bool = False) -> None:
        self.perform(
            self.hub.gateway.receive(self.session, topic, payload, qos, retain=retain, dup=False, now=self.now)
        )

    def disconnect(self, will: Will | None = None) -> None:
        self.perform(self.hub.gateway.disconnected(self.session, self.now, will=will))
        self.closed = "disconnected"

    def tick(self, elapsed: timedelta) -> None:
        self.now += elapsed
        self.perform(self.hub.gateway.tick(self.now))


@dataclass
class HubHouse:
    """A hub linked to namespace `factory` with policy `default`, and what its tests need around it."""

    store: SqliteStore
    adr: AdrRegistry
    hub: Hub

    def register(self, device_id: str, authentication: Authentication | None = None) -> Authentication:
        """Create a device in the hub and return its authentication."""
        return self.hub.registry.create(device_id, authentication, NOW).authentication

    def onboard(self, device_id: str, policy: str = "default") -> PeerChain:
        """Register a device as DPS does, in namespace and hub, and return its operational chain."""
        self.adr.register_device("factory", device_id, policy, NOW)
        self.hub.registry.provision(device_id, Authentication(AuthenticationType.CERTIFICATE_AUTHORITY), NOW)
        chain = self.adr.issue("factory", device_id, parse_csr(csr_for(device_id), device_id), NOW)
        return PeerChain(tuple(c.public_bytes(Encoding.DER) for c in (chain.leaf, chain.issuing_ca)))

    def request(self, client_id: str, **changes: Any) -> ConnectRequest:
        """A CONNECT of this client ID, without credentials unless `changes` has some."""
        fields: dict[str, Any] = {
            "client_id": client_id,
            "user_name": f"hub1.example/{client_id}/?api-version=2025-08-01-preview",
            "password": None,
            "clean_session": True,
            "keep_alive_seconds": 60,
            "will": None,
            "peer_chain": PeerChain(),
            "remote": "192.0.2.1:50000",
        }
        return ConnectRequest(**{**fields, **changes})

    def connect(self, client_id: str, *, now: datetime = NOW, silent: bool = False, **changes: Any) -> Device:
        """Connect a client that must be accepted."""
        session = self.hub.gateway.connect(self.request(client_id, **changes), now)
        assert isinstance(session, HubSession), session
        device = Device(self.hub, self.store, session, now, silent)
        device.perform(self.hub.gateway.opened(session, now))
        return device

    def refusal(self, client_id: str, *, now: datetime = NOW, **changes: Any) -> str:
        """Connect a client that must be refused, and return the reason."""
        refusal = self.hub.gateway.connect(self.request(client_id, **changes), now)
        assert isinstance(refusal, Refusal), refusal
        assert refusal.return_code == 5
        return refusal.reason


@pytest.fixture
def make_house() -> Iterator[Callable[..., HubHouse]]:
    stores: list[SqliteStore] = []

    def make(**settings: Any) -> HubHouse:
        store = SqliteStore(":memory:")
        stores.append(store)
        adr = AdrRegistry(store, MemoryKeyStore())
        adr.create_namespace("factory", NOW)
        adr.create_policy("factory", "default", NOW)
        fields = {"name": "hub1", "host_name": "hub1.example", "namespace": "factory", **settings}
        return HubHouse(store, adr, Hub(HubSettings(**fields), store, adr))

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def house(make_house: Callable[..., HubHouse]) -> HubHouse:
    return make_house()


@pytest.fixture
def make_csr() -> Callable[..., bytes]:
    return csr_for
