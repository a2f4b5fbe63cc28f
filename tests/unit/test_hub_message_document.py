from datetime import UTC, datetime
from typing import Any

import pytest

from hub.c2d_message import Ack, MessageContent
from hub.errors import ArgumentInvalid
from hub.message_document import parse_message_document


@pytest.mark.parametrize(
    ("document", "content"),
    [
        ({}, MessageContent(b"")),
        ({"body": "ü"}, MessageContent("ü".encode())),
        ({"body": {"a": 1.0}}, MessageContent(b'{"a": 1.0}')),
        ({"bodyBase64": "AP8="}, MessageContent(b"\x00\xff")),
        ({"body": "", "messageId": "m", "userId": None}, MessageContent(b"", message_id="m")),
        ({"ack": "full", "properties": {"a": None}}, MessageContent(b"", ack=Ack.FULL, properties={"a": None})),
        (
            {"expiryTimeUtc": "2026-11-23T13:00:00+01:00", "contentType": "t", "contentEncoding": "e"},
            MessageContent(
                b"", content_type="t", content_encoding="e", expires_at=datetime(2026, 11, 23, 12, tzinfo=UTC)
            ),
        ),
    ],
)
def test_document_reads_as_it_says(document: dict[str, Any], content: MessageContent) -> None:
    assert parse_message_document(document) == content


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"text": "x"}, "no member 'text'"),
        ({"messageId": 1}, "messageId is a JSON int"),
        ({"bodyBase64": "!"}, "bodyBase64 is not base64"),
        ({"bodyBase64": 1}, "bodyBase64 is a JSON int"),
        ({"expiryTimeUtc": "soon"}, "expiryTimeUtc 'soon'"),
        ({"expiryTimeUtc": "0001-01-01T00:00:00+05:00"}, "expiryTimeUtc"),
        ({"ack": "maybe"}, "ack 'maybe'"),
        ({"properties": []}, "properties must be"),
        ({"properties": {"a": 1}}, "a is a JSON int"),
        ({"properties": {"": "a"}}, "needs a name"),
        ({"properties": {"$.to": "a"}}, "are the system's"),
        ({"body": "\ud800"}, "half a surrogate pair"),
    ],
)
def test_bad_message_is_refused(document: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentInvalid, match=said):
        parse_message_document(document)
