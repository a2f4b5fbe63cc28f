"""Method calls as services send them."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from hub.errors import ArgumentInvalid
from hub.methods import DEFAULT_RESPONSE_TIMEOUT, MethodCall


def parse_method_document(document: Mapping[str, Any]) -> MethodCall:
    """Read `{"methodName", "payload"?, "responseTimeoutInSeconds"?, "connectTimeoutInSeconds"?}`.

    `timeoutInSeconds` is an older name of the first. An absent payload becomes an empty body, `null` the text null.

    Raises:
        ArgumentInvalid: a member has a wrong type or value.

    Source: iot-hub-devguide-direct-methods.md (documented).
    """
    name = document.get("methodName")
    if not isinstance(name, str):
        raise ArgumentInvalid("methodName must be a text")
    old = _seconds(document, "timeoutInSeconds", DEFAULT_RESPONSE_TIMEOUT)
    return MethodCall(
        method_name=name,
        payload=_format_payload(document["payload"]) if "payload" in document else b"",
        response_timeout=_seconds(document, "responseTimeoutInSeconds", old),
        connect_timeout=_seconds(document, "connectTimeoutInSeconds", timedelta(0)),
    )


def _format_payload(payload: Any) -> bytes:
    try:
        return json.dumps(payload, allow_nan=False).encode()
    except ValueError:  # 1e999 is JSON, and what it becomes is none
        raise ArgumentInvalid("payload has a number that no IEEE double holds") from None


def _seconds(document: Mapping[str, Any], name: str, default: timedelta) -> timedelta:
    value = document.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > 86_400:
        raise ArgumentInvalid(f"{name} must be a whole number of seconds")
    return timedelta(seconds=value)
