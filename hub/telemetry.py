"""Device-to-cloud messages: from a publish on the telemetry topic into the event log."""

from datetime import datetime

from hub.errors import MessageTooLarge
from hub.event_log import EventLog
from hub.message import MESSAGE_TYPE, RETAIN, message_size, split_properties
from hub.property_bag import parse_property_bag
from hub.session import HubSession


class Telemetry:
    """Takes the messages of all connections of one hub."""

    def __init__(self, event_log: EventLog, max_message_bytes: int) -> None:
        self._event_log = event_log
        self._max_message_bytes = max_message_bytes

    def accept(
        self, session: HubSession, bag: str, body: bytes, now: datetime, *, retain: bool = False, will: bool = False
    ) -> None:
        """Append a message to the event log; `bag` is the text after the telemetry topic.

        RETAIN becomes the application property `mqtt-retain`, a will gets `iothub-MessageType`.

        Raises:
            PropertyBagError: the bag is malformed.
            MessageTooLarge: it is over the limit, counted as `message_size` does.

        Source: iot-mqtt-connect-to-iot-hub.md (documented).
        """
        if not (bag or retain or will):
            self._check_size(len(body), session)
            self._event_log.append(session.event_source, body, now)
            return
        system, properties = split_properties(parse_property_bag(bag))
        if retain:
            properties[RETAIN] = "true"
        if will:
            properties[MESSAGE_TYPE] = "Will"
        self._check_size(message_size(body, system, properties), session)
        self._event_log.append(session.event_source, body, now, system, properties)

    def _check_size(self, size: int, session: HubSession) -> None:
        if size > self._max_message_bytes:
            raise MessageTooLarge(
                f"{session.device_id}: message of {size} bytes is larger than {self._max_message_bytes}"
            )
