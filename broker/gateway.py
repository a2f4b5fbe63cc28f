"""What the broker asks of the service behind a connection, and what it gets back.

The port between the MQTT front and the cores (`dps`, `hub`). Pure values and one protocol: no I/O, no amqtt.
It is the only module of this room that the cores may import.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any, Protocol, TypeVar

from certs.peer import PeerChain


class ConnectReturnCode(IntEnum):
    """CONNACK return codes of MQTT 3.1.1 §3.2.2.3."""

    ACCEPTED = 0
    UNACCEPTABLE_PROTOCOL_VERSION = 1
    IDENTIFIER_REJECTED = 2
    SERVER_UNAVAILABLE = 3
    BAD_USER_NAME_OR_PASSWORD = 4
    NOT_AUTHORIZED = 5


@dataclass(frozen=True, slots=True)
class Will:
    """The message a client leaves for the case that it disappears."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


@dataclass(frozen=True, slots=True)
class ConnectRequest:
    """One CONNECT packet and the connection it came over, before anybody believed a word of it.

    `peer_chain` is what this connection's TLS handshake presented: proven to hold the leaf's key, not validated.
    `remote` is `address:port`, for logs.
    """

    client_id: str
    user_name: str
    password: bytes | None
    clean_session: bool
    keep_alive_seconds: int
    will: Will | None
    peer_chain: PeerChain
    remote: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A CONNECT that is answered with a return code other than 0 and closed; `reason` is for the log."""

    return_code: ConnectReturnCode
    reason: str


@dataclass(frozen=True, slots=True)
class Unanswered(Refusal):
    """A CONNECT whose connection is cut without any CONNACK, as when the network fails; the return code is not sent."""


class Session(Protocol):
    """What a gateway remembers of an accepted connection; the broker reads these four names only.

    `key` is unique over all gateways (it contains the host or the ID scope): a second connection with the same
    key takes over from the first. `expires_at` ends the connection (a SAS token's `se`), None never does.
    """

    @property
    def key(self) -> str:
        """The key of the connection over all gateways."""
        ...

    @property
    def device_id(self) -> str:
        """The device, for logs."""
        ...

    @property
    def session_present(self) -> bool:
        """Whether the client finds its persisted session again."""
        ...

    @property
    def expires_at(self) -> datetime | None:
        """When the credential ends, None for never."""
        ...


@dataclass(frozen=True, slots=True)
class Publish:
    """Send one message to the connection with this session key; dropped when there is none.

    `qos` is 0 or 1. `token`, when not empty, comes back through `Gateway.acknowledged` at the client's PUBACK
    (qos 1) or as soon as the message was written (qos 0).
    """

    session_key: str
    topic: str
    payload: bytes
    qos: int = 0
    token: str = ""


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection with this session key; `reason` is for the log."""

    session_key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Cut the connection with this session key without another byte, as a broken network does."""

    session_key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Silence:
    """Keep the connection with this session key open, and hear and say nothing more on it (half-open TCP)."""

    session_key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Withhold:
    """Keep back the CONNACK, SUBACK or PUBACK of the very packet that this answers: for so long, or for ever (None)."""

    session_key: str
    seconds: float | None = None


Action = Publish | Close | Drop | Silence | Withhold


SessionT = TypeVar("SessionT", bound=Session)


class Gateway(Protocol[SessionT]):
    """A service behind the front door: one DPS instance or one IoT Hub.

    All calls are synchronous and do no I/O but through the store port. Actions are carried out, and a PUBACK or
    SUBACK leaves, only after the store has committed what the call wrote. A packet whose actions end its own
    connection is not acknowledged, and `Withhold` keeps an acknowledgement back.
    """

    def connect(self, request: ConnectRequest, now: datetime) -> SessionT | Refusal:
        """Authenticate this connection from its own credentials, then (and only then) look up its session."""
        ...

    def opened(self, session: SessionT, now: datetime) -> list[Action]:
        """Say what goes out right after CONNACK, for example what a resumed session still waits for."""
        ...

    def may_subscribe(self, session: SessionT, topic_filter: str) -> bool:
        """Tell whether the filter is one this device may hold; False closes the connection."""
        ...

    def subscribed(self, session: SessionT, topic_filters: Sequence[tuple[str, int]], now: datetime) -> list[Action]:
        """Record granted filters (with the granted QoS, 0 or 1) and say what goes out right after SUBACK."""
        ...

    def unsubscribed(self, session: SessionT, topic_filters: Sequence[str], now: datetime) -> list[Action]:
        """Forget filters."""
        ...

    def receive(
        self,
        session: SessionT,
        topic: str,
        payload: bytes,
        qos: int,
        *,
        retain: bool,
        dup: bool,
        now: datetime,
    ) -> list[Action]:
        """Take one PUBLISH; the PUBACK (qos 1) leaves before the returned actions."""
        ...

    def acknowledged(self, session: SessionT, token: str, now: datetime) -> list[Action]:
        """Take note that the client has the message that carried this token."""
        ...

    def disconnected(self, session: SessionT, now: datetime, *, will: Will | None) -> list[Action]:
        """Take note that the connection is gone; `will` is set unless the client said DISCONNECT."""
        ...

    def tick(self, now: datetime) -> list[Action]:
        """Do what deadlines ask for; called about once a second."""
        ...


AnyGateway = Gateway[Any]
