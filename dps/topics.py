"""The MQTT topics of DPS: two a device publishes to, one filter it subscribes to, one family of answers.

Editing rules: nothing may follow the request ID but `&retry-after={seconds}`, and no second `$` may appear: the
Python client splits there.
"""

from dataclasses import dataclass

RESPONSE_FILTER = "$dps/registrations/res/#"
REGISTER = "$dps/registrations/PUT/iotdps-register/?"
GET_OPERATION_STATUS = "$dps/registrations/GET/iotdps-get-operationstatus/?"


class UnknownTopic(ValueError):
    """Not a topic a device may publish to; the caller closes the connection."""


@dataclass(frozen=True, slots=True)
class RegisterDevice:
    """A registration; `request_id` is the client's `$rid`, echoed as it came."""

    request_id: str


@dataclass(frozen=True, slots=True)
class GetOperationStatus:
    """A poll for one operation."""

    request_id: str
    operation_id: str


Command = RegisterDevice | GetOperationStatus


def parse_topic(topic: str) -> Command:
    """Read a device-to-DPS topic; the query keys may come in any order, unknown ones are ignored.

    Raises:
        UnknownTopic: another topic, or `$rid` (or, for a poll, `operationId`) is missing or empty.

    Source: iot-mqtt-connect-to-iot-dps.md (documented).
    """
    if topic.startswith(REGISTER):
        return RegisterDevice(_field(topic, topic[len(REGISTER) :], "$rid"))
    if topic.startswith(GET_OPERATION_STATUS):
        query = topic[len(GET_OPERATION_STATUS) :]
        return GetOperationStatus(_field(topic, query, "$rid"), _field(topic, query, "operationId"))
    raise UnknownTopic(f"{topic[:200]!r} is not a topic of DPS")


def format_topic(command: Command) -> str:
    """Write the topic a device would publish to."""
    if isinstance(command, RegisterDevice):
        return f"{REGISTER}$rid={command.request_id}"
    return f"{GET_OPERATION_STATUS}$rid={command.request_id}&operationId={command.operation_id}"


def format_response_topic(status: int, request_id: str, retry_after_seconds: int | None = None) -> str:
    """Write the topic of an answer; `retry_after_seconds` goes last, where Python, Java and C find it.

    Source: azure-iot-sdk-python mqtt_topic_provisioning.py (sdk).
    """
    topic = f"$dps/registrations/res/{status}/?$rid={request_id}"
    return topic if retry_after_seconds is None else f"{topic}&retry-after={retry_after_seconds}"


def _field(topic: str, query: str, name: str) -> str:
    for pair in query.split("&"):
        key, _, value = pair.partition("=")
        if key == name and value:
            return value
    raise UnknownTopic(f"topic {topic[:200]!r} has no {name}")
