"""One request as the handlers see it, and what they answer."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from broker.gateway import Action
from hub.hub import Hub
from hub.json_text import parse_json, parse_json_object

JSON_TYPE = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Received:
    """An HTTP request, read to its end; names of headers are in lower case, the path is as it was sent."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class HubRequest:
    """A request to one hub, its path taken apart."""

    hub: Hub
    parameters: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    now: datetime
    perform: Callable[[Sequence[Action]], None]

    @property
    def device_id(self) -> str:
        """The device in the path."""
        return self.parameters["device"]

    @property
    def if_match(self) -> str | None:
        """The `If-Match` header without quotes: an ETag, `*`, or None without one.

        Source: every service SDK sends the star in quotes (sdk).
        """
        value = self.headers.get("if-match")
        return value.strip().strip('"') if value else None

    def document(self) -> dict[str, Any]:
        """The body, a JSON object."""
        return parse_json_object(self.body)

    def json(self) -> Any:
        """The body, any JSON."""
        return parse_json(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; it leaves after the commit, with the actions."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    actions: Sequence[Action] = ()


def json_reply(document: Any, *, etag: str | None = None, status: int = 200, actions: Sequence[Action] = ()) -> Reply:
    """Answer with JSON, and an ETag in quotes if there is one."""
    headers = {"Content-Type": JSON_TYPE}
    if etag is not None:
        headers["ETag"] = f'"{etag}"'
    return Reply(status, json.dumps(document).encode(), headers, actions)
