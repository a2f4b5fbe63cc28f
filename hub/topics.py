"""The topics between a device and its hub: what a device may publish, may subscribe to, and gets.

Device IDs may contain `+`, `#` and `?`, so topics and filters are compared as texts and never matched as filters.
A new operation is a row in `REQUESTS` and, if it answers, in `SERVICE_FILTERS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

CREDENTIALS_FILTER: Final = "$iothub/credentials/res/#"
# Source: iot-mqtt-connect-to-iot-hub.md (documented); the plural of credentials: every SDK branch (sdk).
SERVICE_FILTERS: Final = frozenset(
    {
        "$iothub/twin/res/#",
        "$iothub/twin/PATCH/properties/desired/#",
        "$iothub/methods/POST/#",
        CREDENTIALS_FILTER,
    }
)


class UnknownTopic(ValueError):
    """Not a topic this device may publish to; the connection is closed."""


class Operation(Enum):
    """What a device asks of the service on a `$iothub/` topic."""

    GET_TWIN = "twin GET"
    PATCH_REPORTED = "twin reported PATCH"
    ANSWER_METHOD = "method response"
    ISSUE_CERTIFICATE = "issueCertificate"


REQUESTS: Final[Mapping[str, Operation]] = {
    "$iothub/twin/GET/": Operation.GET_TWIN,
    "$iothub/twin/PATCH/properties/reported/": Operation.PATCH_REPORTED,
    "$iothub/methods/res/": Operation.ANSWER_METHOD,
    "$iothub/credentials/POST/issueCertificate/": Operation.ISSUE_CERTIFICATE,
}


@dataclass(frozen=True, slots=True)
class ServiceRequest:
    """A publish on a `$iothub/` topic; `request_id` is the `$rid` as sent, None without one that can be echoed."""

    operation: Operation
    request_id: str | None


def telemetry_topic(device_id: str, module_id: str | None) -> str:
    """The topic a device or module publishes telemetry to, without its last slash."""
    if module_id is None:
        return f"devices/{device_id}/messages/events"
    return f"devices/{device_id}/modules/{module_id}/messages/events"


def parse_telemetry_topic(topic: str, own_topic: str) -> str | None:
    """Return the property bag of a publish to `own_topic`, empty without one; None for any other topic.

    The slash between topic and bag, and one after the bag, may be missing or there.

    Source: edgeHub appsettings_hub.json (sdk), iot-mqtt-connect-to-iot-hub.md (documented).
    """
    if not topic.startswith(own_topic):
        return None
    rest = topic[len(own_topic) :]
    if rest in ("", "/"):
        return ""
    return rest[1:].removesuffix("/") if rest[0] == "/" else None


def parse_service_topic(topic: str) -> ServiceRequest:
    """Read a device-to-hub topic under `$iothub/`.

    Raises:
        UnknownTopic: it is none of `REQUESTS`.

    Source: iot-mqtt-connect-to-iot-hub.md (documented).
    """
    for prefix, operation in REQUESTS.items():
        if topic.startswith(prefix):
            return ServiceRequest(operation, _request_id(topic))
    raise UnknownTopic(f"topic {topic[:200]!r} is not one a device may publish to")


def _request_id(topic: str) -> str | None:
    """Find `$rid` in what follows the last `/?`; one that cannot stand in a response topic counts as none."""
    _, found, query = topic.rpartition("/?")
    for part in query.split("&") if found else ():
        name, _, value = part.partition("=")
        if name == "$rid" and value and not set(value) & set("/+#"):
            return value
    return None


def format_credentials_topic(status: int, request_id: str) -> str:
    """Write the topic of an answer to a certificate request; nothing may follow the request ID.

    Source: azure-iot-sdk-csharp and -java CSR branches (sdk).
    """
    return f"$iothub/credentials/res/{status}/?$rid={request_id}"


def may_subscribe(topic_filter: str, device_id: str, module_id: str | None) -> bool:
    """Tell whether a filter is one of those this device or module may hold.

    Source: iot-mqtt-connect-to-iot-hub.md (documented); certificates are for devices, not modules (assumed).
    """
    if module_id is None:
        return topic_filter in SERVICE_FILTERS or topic_filter == f"devices/{device_id}/messages/devicebound/#"
    own = f"devices/{device_id}/modules/{module_id}"
    if topic_filter in (f"{own}/#", f"{own}/inputs/#"):
        return True
    return topic_filter in SERVICE_FILTERS and topic_filter != CREDENTIALS_FILTER
