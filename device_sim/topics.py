"""The topics and user names a device uses with DPS and the hub.

A device ID is never percent-encoded in a topic or user name; property names and values, and agents, always are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote

from device_sim.errors import UnexpectedResponse

DPS_FILTER = "$dps/registrations/res/#"
DPS_PREFIX = "$dps/registrations/res/"
TWIN_FILTER = "$iothub/twin/res/#"
TWIN_PREFIX = "$iothub/twin/res/"
METHODS_FILTER = "$iothub/methods/POST/#"
METHODS_PREFIX = "$iothub/methods/POST/"
CREDENTIALS_FILTER = "$iothub/credentials/res/#"
CREDENTIALS_PREFIX = "$iothub/credentials/res/"
# Source: azure-iot-sdk-c prov_transport_mqtt_common.c (sdk): 1 to 300; 0 lets an emulator be fast.
MAX_RETRY_AFTER_SECONDS = 300


@dataclass(frozen=True, slots=True)
class ResponseTopic:
    """What the topic of an answer says: an HTTP-like status, whose answer it is, and when to come again."""

    status: int
    request_id: str
    retry_after_seconds: int | None = None


def format_dps_user_name(id_scope: str, registration_id: str, api_version: str, client_version: str) -> str:
    """Write the user name of a DPS connection.

    Source: azure-iot-sdk-python mqtt_topic_provisioning.py (sdk).
    """
    agent = _quoted_agent(client_version)
    return f"{id_scope}/registrations/{registration_id}/api-version={api_version}&ClientVersion={agent}"


def format_hub_user_name(hub: str, device_id: str, api_version: str, client_version: str) -> str:
    """Write the user name of a hub connection.

    Source: iot-mqtt-connect-to-iot-hub.md (documented).
    """
    return f"{hub}/{device_id}/?api-version={api_version}&DeviceClientType={_quoted_agent(client_version)}"


def format_register_topic(request_id: str) -> str:
    """Write the topic of a registration request."""
    return f"$dps/registrations/PUT/iotdps-register/?$rid={request_id}"


def format_operation_status_topic(request_id: str, operation_id: str) -> str:
    """Write the topic that asks how a registration stands."""
    return f"$dps/registrations/GET/iotdps-get-operationstatus/?$rid={request_id}&operationId={operation_id}"


def format_issue_certificate_topic(request_id: str) -> str:
    """Write the topic of a renewal request."""
    return f"$iothub/credentials/POST/issueCertificate/?$rid={request_id}"


def format_telemetry_topic(device_id: str, properties: Mapping[str, str]) -> str:
    """Write the telemetry topic with its property bag; system properties are named `$.ct`, `$.ce`, `$.mid`, ….

    Source: azure-iot-sdk-python mqtt_topic_iothub.py (sdk): `$` is percent-encoded too.
    """
    return f"devices/{device_id}/messages/events/{format_property_bag(properties)}"


def format_property_bag(properties: Mapping[str, str]) -> str:
    """Write properties as they stand in a topic.

    Source: azure-iot-sdk-python mqtt_topic_iothub.py (sdk).
    """
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in properties.items())


def format_c2d_filter(device_id: str) -> str:
    """Write the filter of cloud-to-device messages.

    Source: iot-mqtt-connect-to-iot-hub.md (documented).
    """
    return f"devices/{device_id}/messages/devicebound/#"


def format_reported_topic(request_id: str) -> str:
    """Write the topic of a patch of reported properties.

    Source: iot-mqtt-connect-to-iot-hub.md (documented).
    """
    return f"$iothub/twin/PATCH/properties/reported/?$rid={request_id}"


def format_method_response_topic(status: int, request_id: str) -> str:
    """Write the topic of an answer to a direct method.

    Source: iot-mqtt-connect-to-iot-hub.md (documented).
    """
    return f"$iothub/methods/res/{status}/?$rid={request_id}"


def parse_method_topic(topic: str) -> tuple[str, str]:
    """Read the name and the request ID of a direct method: `$iothub/methods/POST/{name}/?$rid={rid}`.

    Raises:
        UnexpectedResponse: the topic has another form.

    Source: azure-iot-sdk-python mqtt_topic_iothub.py (sdk).
    """
    name, separator, request_id = topic.removeprefix(METHODS_PREFIX).partition("/?$rid=")
    if not topic.startswith(METHODS_PREFIX) or not separator or not name or not request_id:
        raise UnexpectedResponse(f"the topic {topic[:100]!r} is not {METHODS_PREFIX}{{name}}/?$rid={{rid}}")
    return unquote(name), request_id


def parse_response_topic(topic: str, prefix: str) -> ResponseTopic:
    """Read `{prefix}{status}/?$rid={rid}[&retry-after={seconds}]`; other members of the query are skipped.

    Raises:
        UnexpectedResponse: the topic has another form, or a number in it is none.

    Source: dps-mqtt-support.md (documented).
    """
    status, separator, query = topic.removeprefix(prefix).partition("/?")
    if not topic.startswith(prefix) or not separator:
        raise UnexpectedResponse(f"the topic {topic[:100]!r} is not {prefix}{{status}}/?$rid={{rid}}")
    members = dict(member.partition("=")[::2] for member in query.split("&"))
    if not members.get("$rid"):
        raise UnexpectedResponse(f"the topic {topic[:100]!r} has no $rid")
    retry_after = members.get("retry-after")
    return ResponseTopic(
        _number(status, topic),
        members["$rid"],
        None if retry_after is None else min(_number(retry_after, topic), MAX_RETRY_AFTER_SECONDS),
    )


@lru_cache(maxsize=16)
def _quoted_agent(client_version: str) -> str:
    """Percent-encode what all devices of a fleet call themselves."""
    return quote(client_version, safe="")


def _number(text: str, topic: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise UnexpectedResponse(f"the topic {topic[:100]!r} has {text[:20]!r} where a number belongs")
    return int(text)
