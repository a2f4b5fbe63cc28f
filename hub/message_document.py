"""Cloud-to-device messages as hublet's own control API takes them (Azure has AMQP for this).

`{"body" | "bodyBase64", "messageId", "correlationId", "userId", "contentType", "contentEncoding", "expiryTimeUtc",
"ack", "properties"}`: a `body` that is no text is sent as JSON.
"""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from hub.c2d_message import Ack, MessageContent
from hub.errors import ArgumentInvalid

TEXT_MEMBERS: Final = {
    "messageId": "message_id",
    "correlationId": "correlation_id",
    "userId": "user_id",
    "contentType": "content_type",
    "contentEncoding": "content_encoding",
}
MEMBERS: Final = frozenset({*TEXT_MEMBERS, "body", "bodyBase64", "expiryTimeUtc", "ack", "properties"})


def parse_message_document(document: Mapping[str, Any]) -> MessageContent:
    """Read a message.

    Raises:
        ArgumentInvalid: an unknown member, or one with a wrong type or value.
    """
    unknown = sorted(set(document) - MEMBERS)
    if unknown:
        raise ArgumentInvalid(f"a message has no member {unknown[0][:64]!r}; it has {sorted(MEMBERS)}")
    texts = {
        field: _text(name, document[name]) for name, field in TEXT_MEMBERS.items() if document.get(name) is not None
    }
    return MessageContent(
        body=_body(document),
        expires_at=_moment(document.get("expiryTimeUtc")),
        ack=_ack(document.get("ack")),
        properties=_properties(document.get("properties")),
        **texts,
    )


def _body(document: Mapping[str, Any]) -> bytes:
    encoded = document.get("bodyBase64")
    if encoded is None:
        body = document.get("body", "")
        return (_text("body", body) if isinstance(body, str) else json.dumps(body)).encode()
    try:
        return base64.b64decode(_text("bodyBase64", encoded), validate=True)
    except ValueError as error:
        raise ArgumentInvalid("bodyBase64 is not base64") from error


def _moment(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(_text("expiryTimeUtc", value))
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ArgumentInvalid(f"expiryTimeUtc {str(value)[:64]!r} is not a moment in ISO 8601") from error


def _ack(value: object) -> Ack:
    if value is None:
        return Ack.NONE
    try:
        return Ack(str(value))
    except ValueError as error:
        raise ArgumentInvalid(f"ack {str(value)[:64]!r} is none of {[ack.value for ack in Ack]}") from error


def _properties(value: object) -> dict[str, str | None]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ArgumentInvalid("properties must be a JSON object of texts")
    if "" in value:
        raise ArgumentInvalid("a property needs a name")
    for name in value:
        if _text("the name of a property", name).startswith("$."):
            raise ArgumentInvalid(f"property {name[:64]!r}: names that begin with $. are the system's")
    return {name: None if text is None else _text(name, text) for name, text in value.items()}


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ArgumentInvalid(f"{name[:64]} is a JSON {type(value).__name__}, it must be a text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ArgumentInvalid(f"{name[:64]!r} has half a surrogate pair in it, which is no UTF-8") from error
    return value
