"""Twins over MQTT: what devices ask of theirs, and what they are told when a service changes it."""

import logging
from datetime import datetime

from broker.gateway import Action, Publish
from hub.connections import Connections
from hub.error_body import format_error_body
from hub.errors import HubError
from hub.json_text import parse_json_object
from hub.session import HubSession, Sessions
from hub.topics import (
    DESIRED_FILTER,
    TWIN_FILTER,
    UnknownTopic,
    format_desired_topic,
    format_twin_topic,
    parse_expected_version,
)
from hub.twin import Twin, TwinChange
from hub.twin_json import format_desired_change, format_device_view
from hub.twins import Twins

log = logging.getLogger("hub")


class TwinRequests:
    """Serves the twins of one hub; everything goes out with QoS 0, as Azure's does."""

    def __init__(self, twins: Twins, sessions: Sessions, connections: Connections) -> None:
        self._twins = twins
        self._sessions = sessions
        self._connections = connections

    def get(self, session: HubSession, request_id: str | None) -> list[Action]:
        """Answer a GET with 200 and the twin.

        Raises:
            UnknownTopic: there is no `$rid` to answer to.

        Source: iot-mqtt-connect-to-iot-hub.md (documented); no `$rid`: edgeHub (sdk).
        """
        if request_id is None:
            raise UnknownTopic("a twin GET without $rid cannot be answered")
        twin = self._twins.get(_client_id(session))
        return self._answer(session, format_twin_topic(200, request_id), format_device_view(twin))

    def report(
        self, session: HubSession, topic: str, request_id: str | None, body: bytes, now: datetime
    ) -> list[Action]:
        """Answer a PATCH of reported properties with 204 and the new version, or with an error.

        Without `$rid` it is done, and nothing is answered.

        Raises:
            UnknownTopic: the `$version` in the topic is no number.

        Source: iot-mqtt-connect-to-iot-hub.md (documented); no `$rid`: edgeHub (sdk); the body of an error, and 412
        for a `$version` that is not the present one, are assumed.
        """
        expected_version = parse_expected_version(topic)
        try:
            twin = self._twins.report(
                _client_id(session), parse_json_object(body), now, expected_version=expected_version
            )
        except HubError as error:
            log.info("device %s: reported properties refused: %s", session.device_id, error)
            return self._refuse(session, request_id, error, now)
        if request_id is None:
            return []
        return self._answer(session, format_twin_topic(204, request_id, twin.reported.version), b"")

    def change(
        self, client_id: str, change: TwinChange, now: datetime, *, etag: str | None = None
    ) -> tuple[Twin, list[Action]]:
        """Do what a service wants of a twin, and tell the device if it is connected and subscribed.

        A device that is not gets nothing later: it has to GET its twin.

        Raises:
            ArgumentInvalid: a rule about keys, values or sizes is broken.
            PreconditionFailed: `etag` is not the twin's.

        Source: iot-hub-devguide-device-twins.md (documented).
        """
        twin = self._twins.change(client_id, change, now, etag=etag)
        key = self._sessions.key(client_id)
        is_told = change.desired is not None or change.is_replacement
        if not is_told or not self._listens(key, DESIRED_FILTER):
            return twin, []
        topic = format_desired_topic(twin.desired.version)
        return twin, [Publish(key, topic, format_desired_change(change, twin))]

    def _refuse(self, session: HubSession, request_id: str | None, error: HubError, now: datetime) -> list[Action]:
        if request_id is None:
            return []
        return self._answer(session, format_twin_topic(error.status, request_id), format_error_body(error, now))

    def _answer(self, session: HubSession, topic: str, payload: bytes) -> list[Action]:
        if TWIN_FILTER not in self._sessions.subscriptions(session.key):
            log.warning("device %s: twin request without a subscription to %s", session.device_id, TWIN_FILTER)
            return []
        return [Publish(session.key, topic, payload)]

    def _listens(self, key: str, topic_filter: str) -> bool:
        return self._connections.get(key) is not None and topic_filter in self._sessions.subscriptions(key)


def _client_id(session: HubSession) -> str:
    return f"{session.device_id}/{session.module_id}" if session.module_id else session.device_id
