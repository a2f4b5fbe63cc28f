"""The MQTT face of a DPS: one packet in, its answer out."""

import logging
from collections.abc import Sequence
from datetime import datetime
from uuid import uuid4

from broker.gateway import Action, Close, ConnectRequest, ConnectReturnCode, Publish, Refusal, Will
from dps.credentials import Credentials
from dps.device_api import DeviceApi
from dps.errors import DpsError
from dps.registration_id import registration_key
from dps.response import Response, format_error
from dps.session import DpsSession
from dps.topics import (
    RESPONSE_FILTER,
    Command,
    RegisterDevice,
    UnknownTopic,
    format_response_topic,
    parse_topic,
)
from dps.user_name import UserNameError, parse_user_name
from hub.sas import SasToken, SasTokenError, parse_sas_token

log = logging.getLogger("dps")


class DpsGateway:
    """Implements `broker.gateway.Gateway` for one DPS.

    CONNECT is refused only for what no register could make right; whether the credentials fit an enrollment is
    found out, and answered, at register.

    Source: azure-docs issue 43157 (observed).
    """

    def __init__(self, device_api: DeviceApi) -> None:
        self._device_api = device_api

    def connect(self, request: ConnectRequest, now: datetime) -> DpsSession | Refusal:
        """Read the user name and the token; the credentials themselves are believed at register.

        Source: azure-docs issue 43157, azure-sdk-for-c issue 2235 (observed); return code 5 for all is assumed.
        """
        try:
            user_name = parse_user_name(request.user_name)
        except UserNameError as error:
            return _refuse(str(error))
        device_id, id_scope = user_name.registration_id, self._device_api.settings.id_scope
        if user_name.id_scope != id_scope:
            return _refuse(f"device {device_id}: ID scope {user_name.id_scope[:80]!r} is not {id_scope!r}")
        if registration_key(request.client_id) != registration_key(device_id):
            return _refuse(f"device {device_id}: client ID {request.client_id[:140]!r} is not the registration ID")
        token, token_error = _read_token(request.password)
        if token is not None and token.expires_at <= now:
            return _refuse(
                f"device {device_id}: the token expired at {token.expires_at.isoformat()}, it is {now.isoformat()}"
            )
        credentials = Credentials(id_scope, device_id, token, token_error, request.peer_chain)
        if not user_name.api_version.is_known:
            log.warning("device %s: api-version %s is not known here", device_id, user_name.api_version.text)
        return DpsSession(credentials, user_name.api_version)

    def opened(self, session: DpsSession, now: datetime) -> list[Action]:  # noqa: ARG002
        """Send nothing: DPS keeps no sessions."""
        return []

    def may_subscribe(self, session: DpsSession, topic_filter: str) -> bool:  # noqa: ARG002
        """Allow the filter for answers and no other.

        Source: iot-mqtt-connect-to-iot-dps.md (documented); that another one closes the connection is assumed.
        """
        return topic_filter == RESPONSE_FILTER

    def subscribed(
        self,
        session: DpsSession,
        topic_filters: Sequence[tuple[str, int]],
        now: datetime,  # noqa: ARG002
    ) -> list[Action]:
        """Remember at which QoS answers go out."""
        for _, qos in topic_filters:
            session.granted_qos = qos
        return []

    def unsubscribed(self, session: DpsSession, topic_filters: Sequence[str], now: datetime) -> list[Action]:  # noqa: ARG002
        """Stop answering when the filter for answers goes."""
        if RESPONSE_FILTER in topic_filters:
            session.granted_qos = None
        return []

    def receive(
        self,
        session: DpsSession,
        topic: str,
        payload: bytes,
        qos: int,
        *,
        retain: bool,  # noqa: ARG002
        dup: bool,  # noqa: ARG002
        now: datetime,
    ) -> list[Action]:
        """Answer a register or a poll; anything else closes the connection.

        Source: iot-mqtt-connect-to-iot-dps.md (documented); the close is assumed.
        """
        if qos > 1:
            return [Close(session.key, f"device {session.device_id}: QoS {qos} is not supported")]
        try:
            command = parse_topic(topic)
        except UnknownTopic as error:
            return [Close(session.key, f"device {session.device_id}: {error}")]
        response = self._respond(session, command, payload, now)
        if session.granted_qos is None:
            log.warning("device %s: not subscribed to %s, answer dropped", session.device_id, RESPONSE_FILTER)
            return []
        response_topic = format_response_topic(response.status, command.request_id, response.retry_after_seconds)
        return [Publish(session.key, response_topic, response.body, session.granted_qos)]

    def acknowledged(self, session: DpsSession, token: str, now: datetime) -> list[Action]:  # noqa: ARG002
        """Do nothing: answers are not sent again."""
        return []

    def disconnected(self, session: DpsSession, now: datetime, *, will: Will | None) -> list[Action]:  # noqa: ARG002
        """Do nothing: operations go on without their device, and DPS has no use for a will."""
        return []

    def tick(self, now: datetime) -> list[Action]:
        """Finish operations that are due and forget expired ones."""
        self._device_api.tick(now)
        return []

    def _respond(self, session: DpsSession, command: Command, payload: bytes, now: datetime) -> Response:
        try:
            return self._dispatch(session, command, payload, now)
        except DpsError as error:
            tracking_id = uuid4()
            log.warning(
                "device %s: answered %d, tracking ID %s: %s", session.device_id, error.error_code, tracking_id, error
            )
            self._device_api.note_refusal(session.credentials, error, now)
            return format_error(error, tracking_id, now)

    def _dispatch(self, session: DpsSession, command: Command, payload: bytes, now: datetime) -> Response:
        if session.attested is None or isinstance(command, RegisterDevice):
            session.attested = None
            session.attested = self._device_api.attest(session.credentials, now)
        if isinstance(command, RegisterDevice):
            return self._device_api.register(session.attested, session.api_version, payload, now)
        return self._device_api.operation_status(session.device_id, command.operation_id, session.api_version, now)


def _refuse(reason: str) -> Refusal:
    return Refusal(ConnectReturnCode.NOT_AUTHORIZED, reason)


def _read_token(password: bytes | None) -> tuple[SasToken | None, str]:
    """Read the password, if there is one, into a token or the reason why it is none."""
    if not password:
        return None, ""
    try:
        return parse_sas_token(password.decode("ascii")), ""
    except UnicodeDecodeError:
        return None, "the password is not ASCII, so it is no SAS token"
    except SasTokenError as error:
        return None, str(error)
