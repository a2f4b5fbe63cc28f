"""A cloud-to-device message, and its life in the queue of its device: a state machine, written as a table.

Rules for editing: every allowed transition is a row of `TRANSITIONS`; a state outside `HELD` is an end, and a message
that reaches it leaves the queue. What an end is called in a feedback record is `FEEDBACK_STATUS`.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import Any, Final

from hub.property_bag import PropertyBag, format_property_bag
from hub.topics import format_devicebound_topic


class C2dState(Enum):
    """Where a message stands."""

    ENQUEUED = "enqueued"  # waits for its device
    INVISIBLE = "invisible"  # delivered and locked until it is settled
    COMPLETED = "completed"
    DEAD_LETTERED = "deadLettered"


class C2dEvent(Enum):
    """What can happen to it."""

    DELIVER = "deliver"
    COMPLETE = "complete"
    ABANDON = "abandon"
    UNLOCK = "unlock"  # the lock's minute is over
    EXHAUST = "exhaust"  # abandoned as often as it may be
    REJECT = "reject"
    EXPIRE = "expire"
    PURGE = "purge"


HELD: Final = frozenset({C2dState.ENQUEUED, C2dState.INVISIBLE})

# Source: iot-hub-devguide-messages-c2d.md, the state diagram (documented). DELIVER of a locked message is for a new
# connection of its device: the one that locked it is gone.
TRANSITIONS: Final[Mapping[tuple[C2dState, C2dEvent], C2dState]] = {
    (C2dState.ENQUEUED, C2dEvent.DELIVER): C2dState.INVISIBLE,
    (C2dState.ENQUEUED, C2dEvent.EXPIRE): C2dState.DEAD_LETTERED,
    (C2dState.ENQUEUED, C2dEvent.PURGE): C2dState.DEAD_LETTERED,
    (C2dState.INVISIBLE, C2dEvent.DELIVER): C2dState.INVISIBLE,
    (C2dState.INVISIBLE, C2dEvent.COMPLETE): C2dState.COMPLETED,
    (C2dState.INVISIBLE, C2dEvent.ABANDON): C2dState.ENQUEUED,
    (C2dState.INVISIBLE, C2dEvent.UNLOCK): C2dState.ENQUEUED,
    (C2dState.INVISIBLE, C2dEvent.EXHAUST): C2dState.DEAD_LETTERED,
    (C2dState.INVISIBLE, C2dEvent.REJECT): C2dState.DEAD_LETTERED,
    (C2dState.INVISIBLE, C2dEvent.EXPIRE): C2dState.DEAD_LETTERED,
    (C2dState.INVISIBLE, C2dEvent.PURGE): C2dState.DEAD_LETTERED,
}

# Source: iot-hub-devguide-messages-c2d.md, message feedback (documented).
FEEDBACK_STATUS: Final[Mapping[C2dEvent, str]] = {
    C2dEvent.COMPLETE: "Success",
    C2dEvent.EXPIRE: "Expired",
    C2dEvent.EXHAUST: "DeliveryCountExceeded",
    C2dEvent.REJECT: "Rejected",
    C2dEvent.PURGE: "Purged",
}


class Ack(StrEnum):
    """Which ends the sender wants to hear of, in the property `iothub-ack`."""

    NONE = "none"
    POSITIVE = "positive"
    NEGATIVE = "negative"
    FULL = "full"

    def wants(self, event: C2dEvent) -> bool:
        """Whether an end by this event is told."""
        return self is Ack.FULL or self is (Ack.POSITIVE if event is C2dEvent.COMPLETE else Ack.NEGATIVE)


@dataclass(frozen=True, slots=True)
class MessageContent:
    """What a service sends: a body, and system and application properties."""

    body: bytes
    message_id: str | None = None
    correlation_id: str | None = None
    user_id: str | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    expires_at: datetime | None = None
    ack: Ack = Ack.NONE
    properties: PropertyBag = field(default_factory=dict)


SYSTEM_FIELDS: Final = ("message_id", "correlation_id", "user_id", "content_type", "content_encoding")


@dataclass(frozen=True, slots=True)
class Lock:
    """Who has a message: settled with the token, until a moment, delivered over one connection."""

    token: str
    until: datetime
    connection_id: str


@dataclass(frozen=True, slots=True)
class C2dMessage:
    """A message in the queue of its device; `delivery_count` counts how often it was abandoned."""

    device_id: str
    generation_id: str
    sequence: int
    enqueued_at: datetime
    expires_at: datetime
    content: MessageContent
    lock: Lock | None = None
    delivery_count: int = 0

    @property
    def state(self) -> C2dState:
        """INVISIBLE while it is locked."""
        return C2dState.ENQUEUED if self.lock is None else C2dState.INVISIBLE

    @property
    def deadline(self) -> datetime:
        """When the next thing happens by itself."""
        return self.expires_at if self.lock is None else min(self.lock.until, self.expires_at)


def next_state(message: C2dMessage, event: C2dEvent) -> C2dState | None:
    """Look up where an event leads; None when it is not allowed in the present state."""
    return TRANSITIONS.get((message.state, event))


def format_topic(message: C2dMessage) -> str:
    """Write the topic a message is delivered on; its bag always has `$.to`.

    Source: captures of every SDK (observed); the form of `$.exp` is the one C# reads (sdk).
    """
    content = message.content
    bag: dict[str, str | None] = {
        "$.mid": content.message_id,
        "$.to": f"/devices/{message.device_id}/messages/deviceBound",
        "$.cid": content.correlation_id,
        "$.uid": content.user_id,
        "$.exp": None if content.expires_at is None else _format_expiry(content.expires_at),
        "$.ct": content.content_type,
        "$.ce": content.content_encoding,
        "iothub-ack": None if content.ack is Ack.NONE else content.ack.value,
    }
    present = {name: value for name, value in bag.items() if value is not None}
    return format_devicebound_topic(message.device_id, format_property_bag({**present, **content.properties}))


def _format_expiry(moment: datetime) -> str:
    moment = moment.astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}0Z"


def format_message_record(message: C2dMessage) -> str:
    """Write a message for the store; device and sequence are the record's key."""
    content, lock = message.content, message.lock
    fields = {
        "generationId": message.generation_id,
        "enqueued": message.enqueued_at.isoformat(),
        "expires": message.expires_at.isoformat(),
        "body": base64.b64encode(content.body).decode(),
        "system": [getattr(content, name) for name in SYSTEM_FIELDS],
        "expiryTimeUtc": content.expires_at.isoformat() if content.expires_at else None,
        "ack": content.ack,
        "properties": content.properties,
        "lock": [lock.token, lock.until.isoformat(), lock.connection_id] if lock else None,
        "deliveryCount": message.delivery_count,
    }
    return json.dumps(fields, separators=(",", ":"))


def parse_message_record(key: str, text: str) -> C2dMessage:
    """Read a message from its record."""
    fields: dict[str, Any] = json.loads(text)
    device_id, _, sequence = key.partition("/")
    lock, expiry = fields["lock"], fields["expiryTimeUtc"]
    return C2dMessage(
        device_id=device_id,
        generation_id=fields["generationId"],
        sequence=int(sequence),
        enqueued_at=datetime.fromisoformat(fields["enqueued"]),
        expires_at=datetime.fromisoformat(fields["expires"]),
        content=MessageContent(
            body=base64.b64decode(fields["body"]),
            expires_at=datetime.fromisoformat(expiry) if expiry else None,
            ack=Ack(fields["ack"]),
            properties=fields["properties"],
            **dict(zip(SYSTEM_FIELDS, fields["system"], strict=True)),
        ),
        lock=Lock(lock[0], datetime.fromisoformat(lock[1]), lock[2]) if lock else None,
        delivery_count=fields["deliveryCount"],
    )
