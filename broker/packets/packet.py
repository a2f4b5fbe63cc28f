"""The fourteen control packets of MQTT 3.1.1 as values, and what can be wrong with the bytes of one."""

from dataclasses import dataclass
from enum import IntEnum

from broker.gateway import Will


class PacketType(IntEnum):
    """The upper half of a packet's first byte (MQTT 3.1.1 table 2.1)."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14


class MalformedPacket(Exception):
    """A packet breaks a rule of MQTT 3.1.1, and the connection must be closed; the message names the clause."""


class PacketTooLarge(MalformedPacket):
    """A packet is longer than this end is willing to hold."""


class UnacceptableProtocolVersion(MalformedPacket):
    """A CONNECT of another MQTT version: the one violation that deserves an answer, CONNACK 1, before the close."""

    def __init__(self, protocol_name: str, protocol_level: int) -> None:
        super().__init__(
            f"CONNECT asks for {protocol_name} level {protocol_level}, only MQTT level 4 is spoken [MQTT-3.1.2-2]"
        )
        self.protocol_name = protocol_name
        self.protocol_level = protocol_level


@dataclass(frozen=True, slots=True)
class Connect:
    """The client's first packet; `keep_alive_seconds` is 0 (none) to 65535."""

    client_id: str
    clean_session: bool = True
    keep_alive_seconds: int = 0
    user_name: str | None = None
    password: bytes | None = None
    will: Will | None = None


@dataclass(frozen=True, slots=True)
class Connack:
    """The server's answer to CONNECT; `return_code` is 0 (accepted) to 5."""

    session_present: bool
    return_code: int


@dataclass(frozen=True, slots=True)
class Publish:
    """A message; `packet_id` is 1 to 65535 with QoS 1 and 2, and None with QoS 0."""

    topic: str
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int | None = None


@dataclass(frozen=True, slots=True)
class Puback:
    """The receiver's answer to a PUBLISH with QoS 1."""

    packet_id: int


@dataclass(frozen=True, slots=True)
class Pubrec:
    """The receiver's first answer to a PUBLISH with QoS 2."""

    packet_id: int


@dataclass(frozen=True, slots=True)
class Pubrel:
    """The sender's answer to PUBREC."""

    packet_id: int


@dataclass(frozen=True, slots=True)
class Pubcomp:
    """The receiver's answer to PUBREL."""

    packet_id: int


@dataclass(frozen=True, slots=True)
class Subscribe:
    """A request for one or more topic filters, each with its maximum QoS."""

    packet_id: int
    topic_filters: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Suback:
    """The answer to SUBSCRIBE: for each filter the granted QoS, or 0x80 for a refusal."""

    packet_id: int
    return_codes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """A request to forget one or more topic filters."""

    packet_id: int
    topic_filters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unsuback:
    """The answer to UNSUBSCRIBE."""

    packet_id: int


@dataclass(frozen=True, slots=True)
class Pingreq:
    """The client is alive."""


@dataclass(frozen=True, slots=True)
class Pingresp:
    """The server is alive."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The client leaves in good order: its will is discarded."""


Packet = (
    Connect
    | Connack
    | Publish
    | Puback
    | Pubrec
    | Pubrel
    | Pubcomp
    | Subscribe
    | Suback
    | Unsubscribe
    | Unsuback
    | Pingreq
    | Pingresp
    | Disconnect
)
