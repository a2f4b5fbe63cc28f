"""The topics between a device and its hub: what a device may publish, may subscribe to, and gets.

Device IDs may contain `+`, `#` and `?`, so topics and filters are compared as texts and never matched as filters.
A new operation is a row in `REQUESTS` and, if it answers, in `SERVICE_FILTERS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

CREDENTIALS_FILTER: Final = "$iothub/credentials/res/#"
TWIN_FILTER: Final = "$iothub/twin/res/#"
DESIRED_FILTER: Final = "$iothub/twin/PATCH/properties/desired/#"
METHODS_FILTER: Final = "$iothub/methods/POST/#"
# Source: iot-mqtt-connect-to-iot-hub.md (documented); the plural of credentials: every SDK branch (sdk).
SERVICE_FILTERS: Final = frozenset(
    {
        TWIN_FILTER,
        DESIRED_FILTER,
        METHODS_FILTER,
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
    """Find `$rid`; one that cannot stand in a response topic counts as none."""
    value = _parameter(topic, "$rid")
    return value if value and not set(value) & set("/+#") else None


def _parameter(topic: str, wanted: str) -> str | None:
    """Find a parameter in what follows the last `/?`."""
    _, found, query = topic.rpartition("/?")
    for part in query.split("&") if found else ():
        name, _, value = part.partition("=")
        if name == wanted and value:
            return value
    return None


def parse_expected_version(topic: str) -> int | None:
    """Read the `$version` that a reported PATCH makes its condition, None without one.

    Raises:
        UnknownTopic: it is no whole number.

    Source: edgeHub TwinAddressHelper.cs (sdk).
    """
    value = _parameter(topic, "$version")
    return None if value is None else _whole_number("$version", value)


def parse_method_status(topic: str) -> int:
    """Read the status in `$iothub/methods/res/{status}/?$rid=…`: a 32-bit integer.

    Raises:
        UnknownTopic: it is none.

    Source: iot-mqtt-connect-to-iot-hub.md (documented).
    """
    value = topic.removeprefix("$iothub/methods/res/").partition("/")[0]
    status = _whole_number("status", value.removeprefix("-"))
    return -status if value.startswith("-") else status


def _whole_number(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit()) or len(value) > 10 or int(value) >= 2**31:
        raise UnknownTopic(f"{name} {value[:40]!r} is not a 32-bit whole number")
    return int(value)


def format_credentials_topic(status: int, request_id: str) -> str:
    """Write the topic of an answer to a certificate request; nothing may follow the request ID.

    Source: azure-iot-sdk-csharp and -java CSR branches (sdk).
    """
    return f"$iothub/credentials/res/{status}/?$rid={request_id}"


def format_twin_topic(status: int, request_id: str, version: int | None = None) -> str:
    """Write the topic of an answer to a twin request; `version` is the new one of the reported properties.

    Source: iot-mqtt-connect-to-iot-hub.md (documented).
    """
    suffix = "" if version is None else f"&$version={version}"
    return f"$iothub/twin/res/{status}/?$rid={request_id}{suffix}"


def format_desired_topic(version: int) -> str:
    """Write the topic that tells a device of changed desired properties.

    Source: iot-mqtt-connect-to-iot-hub.md (documented).
    """
    return f"$iothub/twin/PATCH/properties/desired/?$version={version}"


def format_method_topic(method_name: str, request_id: str) -> str:
    """Write the topic of a method call; `$rid` is the only parameter, as C# takes all that follows for it.

    Source: iot-mqtt-connect-to-iot-hub.md (documented), azure-iot-sdk-csharp (sdk).
    """
    return f"$iothub/methods/POST/{method_name}/?$rid={request_id}"


def devicebound_filter(device_id: str) -> str:
    """The filter under which a device gets cloud-to-device messages.

    Source: iot-mqtt-connect-to-iot-hub.md (documented).
    """
    return f"devices/{device_id}/messages/devicebound/#"


def format_devicebound_topic(device_id: str, bag: str) -> str:
    """Write the topic of a cloud-to-device message.

    Source: iot-mqtt-connect-to-iot-hub.md (documented).
    """
    return f"devices/{device_id}/messages/devicebound/{bag}"


def may_subscribe(topic_filter: str, device_id: str, module_id: str | None) -> bool:
    """Tell whether a filter is one of those this device or module may hold.

    Source: iot-mqtt-connect-to-iot-hub.md (documented); certificates are for devices, not modules (assumed).
    """
    if module_id is None:
        return topic_filter in SERVICE_FILTERS or topic_filter == devicebound_filter(device_id)
    own = f"devices/{device_id}/modules/{module_id}"
    if topic_filter in (f"{own}/#", f"{own}/inputs/#"):
        return True
    return topic_filter in SERVICE_FILTERS and topic_filter != CREDENTIALS_FILTER
