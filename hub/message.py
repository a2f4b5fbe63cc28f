"""What a device-to-cloud message is made of: system properties, application properties, and its size."""

from collections.abc import Mapping

from hub.property_bag import PropertyBag

# Wire name in the property bag, name seen by consumers and routes.
# Source: edgeHub SystemProperties.cs (sdk), iot-hub-devguide-messages-construct.md (documented).
SYSTEM_PROPERTIES: Mapping[str, str] = {
    "$.mid": "message-id",
    "$.cid": "correlation-id",
    "$.uid": "user-id",
    "$.to": "to",
    "$.exp": "absolute-expiry-time",
    "$.ct": "content-type",
    "$.ce": "content-encoding",
    "$.on": "iothub-outputname",
    "$.sub": "dt-subject",
    "$.ifid": "iothub-interface-id",
    "$.schema": "iothub-message-schema",
    "$.ctime": "iothub-creation-time-utc",
    "$.diagid": "Diagnostic-Id",
    "$.diagctx": "Correlation-Context",
}
# Only an Edge gateway may say who sent a message; from anybody else these are dropped. Source: assumed.
SENDER_PROPERTIES = frozenset({"$.cdid", "$.cmid"})
MESSAGE_TYPE = "iothub-MessageType"
RETAIN = "mqtt-retain"


def split_properties(bag: PropertyBag) -> tuple[dict[str, str], PropertyBag]:
    """Split a bag into system properties, under their consumer names, and application properties.

    A system property without a value is left out. Unknown `$.` names stay application properties (assumed).
    """
    system: dict[str, str] = {}
    application: PropertyBag = {}
    for name, value in bag.items():
        consumer_name = SYSTEM_PROPERTIES.get(name)
        if consumer_name is None:
            if name not in SENDER_PROPERTIES:
                application[name] = value
        elif value is not None:
            system[consumer_name] = value
    return system, application


def message_size(body: bytes, system: Mapping[str, str], application: Mapping[str, str | None]) -> int:
    """Count a message as the service does, in bytes: body, system values, application names and values.

    Source: iot-hub-devguide-messages-construct.md (documented).
    """
    return (
        len(body)
        + sum(len(value.encode()) for value in system.values())
        + sum(len(name.encode()) + len((value or "").encode()) for name, value in application.items())
    )
