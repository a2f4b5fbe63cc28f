"""The hub behind the front door: one packet of a device in, its answer out."""

import logging
import secrets
from collections.abc import Sequence
from datetime import datetime

from broker.gateway import Action, Close, ConnectRequest, ConnectReturnCode, Refusal, Session, Will
from hub.access import Access, Admission
from hub.c2d import DELIVERY, CloudToDevice
from hub.connections import Connections
from hub.credentials import Credentials
from hub.errors import MessageTooLarge
from hub.event_log import EventLog
from hub.feedback import Feedback
from hub.grant import Denial
from hub.methods import Methods
from hub.property_bag import PropertyBagError, parse_property_bag
from hub.session import HubSession, Sessions
from hub.settings import HubSettings
from hub.telemetry import Telemetry
from hub.topics import (
    CREDENTIALS_FILTER,
    METHODS_FILTER,
    Operation,
    UnknownTopic,
    devicebound_filter,
    may_subscribe,
    parse_method_status,
    parse_service_topic,
    parse_telemetry_topic,
    telemetry_topic,
)
from hub.twin_requests import TwinRequests
from hub.twins import Twins

log = logging.getLogger("hub")


class HubGateway:
    """Implements `broker.gateway.Gateway` for one hub; what is to last is in the store."""

    def __init__(
        self,
        settings: HubSettings,
        *,
        access: Access,
        sessions: Sessions,
        event_log: EventLog,
        telemetry: Telemetry,
        credentials: Credentials,
        connections: Connections,
        twins: Twins,
        twin_requests: TwinRequests,
        methods: Methods,
        c2d: CloudToDevice,
        feedback: Feedback,
    ) -> None:
        self._settings = settings
        self._access = access
        self._sessions = sessions
        self._event_log = event_log
        self._telemetry = telemetry
        self._credentials = credentials
        self._connections = connections
        self._twins = twins
        self._twin_requests = twin_requests
        self._methods = methods
        self._c2d = c2d
        self._feedback = feedback

    def connect(self, request: ConnectRequest, now: datetime) -> HubSession | Refusal:
        """Authenticate, check the will, then resume or begin the session.

        Every refusal has return code 5: clients read 3 as "try again" and 2 and 4 as the same as 5.

        Source: GitHub issues on refused connects (observed); 5 for a disabled device, a foreign client ID, a malformed
        user name and a foreign will topic is assumed.
        """
        admission = self._access.decide(request, now)
        if isinstance(admission, Denial):
            return self._refuse(request, admission.reason)
        user = admission.user
        topic = telemetry_topic(user.device_id, user.module_id)
        broken_rule = _check_will(request.will, topic)
        if broken_rule is not None:
            return self._refuse(request, broken_rule)
        session = self._open(admission, request, topic)
        self._connections.admitted(session)
        log.info("device %s: connected to hub %s from %s", request.client_id, self._settings.name, request.remote)
        return session

    def opened(self, session: Session, now: datetime) -> list[Action]:
        """Count the device as connected, and send what a resumed session still waits for."""
        hub_session = _own(session)
        self._connections.opened(hub_session, now)
        held = self._credentials.opened(hub_session)
        if hub_session.session_present:
            held += self._c2d.deliver(hub_session, now)
            held += self._methods.deliver(hub_session)
        return held

    def may_subscribe(self, session: Session, topic_filter: str) -> bool:
        """Tell whether the filter is one of the documented ones for this device."""
        hub_session = _own(session)
        return may_subscribe(topic_filter, hub_session.device_id, hub_session.module_id)

    def subscribed(self, session: Session, topic_filters: Sequence[tuple[str, int]], now: datetime) -> list[Action]:
        """Record the filters and send what was held for them; one filter too many closes the connection.

        Source: iot-mqtt-connect-to-iot-hub.md, limit of 5 (documented); the close is assumed.
        """
        hub_session = _own(session)
        limit = self._settings.max_subscriptions
        if not self._sessions.subscribe(hub_session, topic_filters, now, limit):
            return _close(hub_session, f"SUBSCRIBE would exceed the {limit} subscriptions a connection may hold")
        names = {topic_filter for topic_filter, _ in topic_filters}
        actions: list[Action] = []
        if CREDENTIALS_FILTER in names:
            actions += self._credentials.deliver(hub_session)
        if devicebound_filter(hub_session.device_id) in names:
            actions += self._c2d.deliver(hub_session, now)
        if METHODS_FILTER in names:
            actions += self._methods.deliver(hub_session)
        return actions

    def unsubscribed(self, session: Session, topic_filters: Sequence[str], now: datetime) -> list[Action]:  # noqa: ARG002 (the port)
        """Forget the filters."""
        self._sessions.unsubscribe(_own(session), topic_filters)
        return []

    def receive(
        self,
        session: Session,
        topic: str,
        payload: bytes,
        qos: int,
        *,
        retain: bool,
        dup: bool,  # noqa: ARG002 (the port)
        now: datetime,
    ) -> list[Action]:
        """Take telemetry or a request; anything else, QoS 2 too, closes the connection.

        DUP is not looked at: a message sent twice is two events (assumed).

        Source: iot-mqtt-connect-to-iot-hub.md (documented).
        """
        assert isinstance(session, HubSession)
        if qos > 1:
            return _close(session, f"PUBLISH with QoS {qos}: at most QoS 1 is allowed")
        try:
            bag = parse_telemetry_topic(topic, session.telemetry_topic)
            if bag is None:
                return self._serve(session, topic, payload, now)
            self._telemetry.accept(session, bag, payload, now, retain=retain)
        except (UnknownTopic, PropertyBagError, MessageTooLarge) as error:
            return _close(session, str(error))
        return []

    def acknowledged(self, session: Session, token: str, now: datetime) -> list[Action]:
        """Take note that the device has a cloud-to-device message, or the result of a certificate request."""
        if token.startswith(DELIVERY):
            self._c2d.acknowledged(_own(session), token, now)
        else:
            self._credentials.acknowledged(_own(session), token)
        return []

    def disconnected(self, session: Session, now: datetime, *, will: Will | None) -> list[Action]:
        """Publish the will as telemetry, fail open method calls, and forget a session with CleanSession 1."""
        hub_session = _own(session)
        self._connections.closed(hub_session, now)
        self._methods.disconnected(hub_session)
        if will is not None:
            self._accept_will(hub_session, will, now)
        self._sessions.close(hub_session)
        log.info("device %s: disconnected from hub %s", hub_session.device_id, self._settings.name)
        return []

    def tick(self, now: datetime) -> list[Action]:
        """Do what is due: certificates, messages, feedback, method calls, connections of devices that are gone."""
        self._methods.tick(now)
        self._feedback.tick(now)
        return [*self._credentials.tick(now), *self._c2d.tick(now), *self._connections.condemned()]

    def _open(self, admission: Admission, request: ConnectRequest, topic: str) -> HubSession:
        user = admission.user
        key = self._sessions.key(user.client_id)
        system = {
            "iothub-connection-auth-method": admission.grant.method.value,
            "iothub-connection-auth-generation-id": admission.generation_id,
            "iothub-message-source": "Telemetry",
        }
        if user.module_id is not None:
            system["iothub-connection-module-id"] = user.module_id
        if user.model_id is not None:
            system["dt-dataschema"] = user.model_id
            self._twins.announce_model(user.client_id, user.model_id)
        return HubSession(
            key=key,
            device_id=user.device_id,
            module_id=user.module_id,
            session_present=self._sessions.open(key, clean_session=request.clean_session),
            expires_at=admission.grant.expires_at,
            clean_session=request.clean_session,
            connection_id=secrets.token_hex(8),
            api_version=user.api_version,
            telemetry_topic=topic,
            event_source=self._event_log.source(user.device_id, system),
            issuer=admission.grant.issuer,
        )

    def _refuse(self, request: ConnectRequest, reason: str) -> Refusal:
        log.warning("device %s: refused by hub %s: %s", request.client_id[:260], self._settings.name, reason)
        return Refusal(ConnectReturnCode.NOT_AUTHORIZED, reason)

    def _serve(self, session: HubSession, topic: str, payload: bytes, now: datetime) -> list[Action]:
        request = parse_service_topic(topic)
        match request.operation:
            case Operation.GET_TWIN:
                return self._twin_requests.get(session, request.request_id)
            case Operation.PATCH_REPORTED:
                return self._twin_requests.report(session, topic, request.request_id, payload, now)
            case Operation.ANSWER_METHOD:
                self._methods.answered(session, request.request_id, parse_method_status(topic), payload)
                return []
            case Operation.ISSUE_CERTIFICATE:
                return self._credentials.request(session, request.request_id, payload, now)

    def _accept_will(self, session: HubSession, will: Will, now: datetime) -> None:
        bag = parse_telemetry_topic(will.topic, session.telemetry_topic)
        assert bag is not None, "connect has checked the will's topic"
        try:
            self._telemetry.accept(session, bag, will.payload, now, retain=will.retain, will=True)
        except MessageTooLarge as error:
            log.warning("device %s: will is dropped: %s", session.device_id, error)


def _own(session: Session) -> HubSession:
    assert isinstance(session, HubSession), "a gateway gets back the sessions it gave out"
    return session


def _close(session: HubSession, reason: str) -> list[Action]:
    log.warning("device %s: closing: %s", session.device_id, reason)
    return [Close(session.key, reason)]


def _check_will(will: Will | None, own_topic: str) -> str | None:
    """Return the rule a will breaks, None when it is good: the device's own telemetry topic, QoS 0 or 1.

    Source: iot-mqtt-connect-to-iot-hub.md (documented).
    """
    if will is None:
        return None
    bag = parse_telemetry_topic(will.topic, own_topic)
    if bag is None:
        return f"will topic {will.topic[:200]!r} is not the device's own {own_topic}/"
    if will.qos > 1:
        return f"will with QoS {will.qos}: at most QoS 1 is allowed"
    try:
        parse_property_bag(bag)
    except PropertyBagError as error:
        return f"will topic: {error}"
    return None
