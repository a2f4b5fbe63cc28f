"""Errors as the service REST API writes them: three envelopes, and which error comes in which.

Source: live probes (observed); which errors besides the probed ones come in which envelope is assumed.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from enum import Enum, auto
from typing import Any, Final

from emulator.hub_rest.exchange import JSON_TYPE, Reply
from hub.error_body import format_error_body
from hub.errors import (
    DeviceConnectionClosedRemotely,
    DeviceNotOnline,
    GatewayTimeout,
    GenericBadGateway,
    HubError,
    ModuleAlreadyExistsOnDevice,
)


class Envelope(Enum):
    """The forms of an error's body."""

    NAMED = auto()  # {"Message": "ErrorCode:Name;text", "ExceptionMessage": "Tracking ID:…"}
    NUMBERED = auto()  # {"errorCode": 409301, "message", "trackingId", "timestampUtc"}
    NESTED = auto()  # a NUMBERED one as text in the Message of a NAMED one


ENVELOPES: Final[Mapping[type[HubError], Envelope]] = {
    ModuleAlreadyExistsOnDevice: Envelope.NUMBERED,
    DeviceNotOnline: Envelope.NESTED,
    DeviceConnectionClosedRemotely: Envelope.NESTED,
    GenericBadGateway: Envelope.NESTED,
    GatewayTimeout: Envelope.NESTED,
}


def error_reply(error: HubError, now: datetime) -> Reply:
    """Render an error, with its name in `iothub-errorcode`."""
    name = type(error).__name__
    numbered: dict[str, Any] = json.loads(format_error_body(error, now))
    match ENVELOPES.get(type(error), Envelope.NAMED):
        case Envelope.NUMBERED:
            document = numbered
        case Envelope.NESTED:
            document = {"Message": json.dumps(numbered), "ExceptionMessage": ""}
        case Envelope.NAMED:
            tracking = f"Tracking ID:{numbered['trackingId']}"
            document = {"Message": f"ErrorCode:{name};{error}", "ExceptionMessage": tracking}
    headers = {"Content-Type": JSON_TYPE, "iothub-errorcode": name}
    return Reply(error.status, json.dumps(document).encode(), headers)
