"""The JSON body of an error answer over MQTT."""

import json
import secrets
from datetime import UTC, datetime
from typing import Any

from hub.errors import HubError


def format_error_body(error: HubError, now: datetime) -> bytes:
    """Write `{"errorCode","message","trackingId","timestampUtc","info"}`, in ASCII.

    Source: azure-iot-sdk-csharp feature/iot-csr-preview csr-scenarions.md (observed).
    """
    timestamp = format_timestamp(now)
    body: dict[str, Any] = {
        "errorCode": error.code,
        "message": str(error),
        "trackingId": f"{secrets.token_hex(16).upper()}-G2:-TimeStamp:{timestamp}",
        "timestampUtc": timestamp,
        "info": dict(error.info) if error.info is not None else None,
    }
    return json.dumps(body, separators=(",", ":")).encode()


def format_timestamp(moment: datetime) -> str:
    """Write a moment as ISO 8601 in UTC with nine fraction digits, as the credentials API does."""
    moment = moment.astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}000Z"
