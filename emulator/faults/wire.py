"""What DPS and a hub say in trouble, on their topics: the part of a fault that devices parse."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, Protocol
from uuid import uuid4

from broker.gateway import Action, Publish, Session
from dps.device_api import DeviceApi
from dps.errors import DpsError
from dps.operation import Operation as DpsOperation
from dps.operation import format_operation_id
from dps.registration import Registration
from dps.response import Response, format_accepted, format_assigning, format_error, format_operation_status
from dps.session import DpsSession
from dps.topics import GetOperationStatus, RegisterDevice, UnknownTopic, format_response_topic, parse_topic
from emulator.faults.fault import Operation
from hub.error_body import format_error_body, format_timestamp
from hub.errors import HubError
from hub.session import Sessions
from hub.topics import CREDENTIALS_FILTER, TWIN_FILTER, format_credentials_topic, format_twin_topic, parse_service_topic
from hub.topics import Operation as HubOperation
from hub.topics import UnknownTopic as UnknownHubTopic

OPERATION_LIFETIME: Final = timedelta(minutes=10)
MAX_PRETENDED: Final = 10_000
HUB_UNAVAILABLE_CODE: Final = 503001


class Wire(Protocol):
    """The topics of one service."""

    def operation(self, topic: str) -> Operation | None:
        """Say what a publish asks for; None for what the service will not understand."""
        ...

    def enrollment(self, session: Session, now: datetime) -> str:
        """Name the enrollment of a device, empty if that is not known."""
        ...

    def hub_for(self, session: Session, payload: bytes, now: datetime) -> str:
        """Name the hub that a registration would be assigned to, empty if that is not known."""
        ...

    def refuse(self, session: Session, topic: str, status: int, retry_after: int, now: datetime) -> list[Action]:
        """Answer a request with an error."""
        ...

    def accept_for_ever(self, session: Session, topic: str, now: datetime) -> list[Action]:
        """Answer 202 to a request that the service never gets."""
        ...


class DpsWire:
    """The topics of DPS, and the operations that there are only for devices that ask about them."""

    def __init__(self, device_api: DeviceApi) -> None:
        self._device_api = device_api
        self._pretended: dict[str, tuple[datetime, str | None]] = {}

    def operation(self, topic: str) -> Operation | None:
        """Tell a registration from a poll."""
        try:
            return Operation.REGISTER if isinstance(parse_topic(topic), RegisterDevice) else Operation.POLL
        except UnknownTopic:
            return None

    def enrollment(self, session: Session, now: datetime) -> str:
        """Attest the device as its registration will."""
        assert isinstance(session, DpsSession)
        try:
            attested = session.attested or self._device_api.attest(session.credentials, now)
        except DpsError:
            return ""
        return attested.enrollment.name

    def hub_for(self, session: Session, payload: bytes, now: datetime) -> str:
        """Ask the DPS, as it would decide now."""
        assert isinstance(session, DpsSession)
        try:
            attested = session.attested or self._device_api.attest(session.credentials, now)
            return self._device_api.hub_for(attested, session.api_version, payload, now).settings.name
        except DpsError:
            return ""

    def refuse(self, session: Session, topic: str, status: int, retry_after: int, now: datetime) -> list[Action]:
        """Answer with `{status}000`, and when to come again.

        Source: azure-iot-sdk-python pipeline_stages_provisioning.py (sdk); code and text are assumed.
        """
        return self._answer(session, topic, _dps_refusal(status, retry_after, now))

    def accept_for_ever(self, session: Session, topic: str, now: datetime) -> list[Action]:
        """Give an operation that stays `assigning`."""
        return self._accept(session, topic, now, None)

    def accept_without_hub(self, session: Session, topic: str, now: datetime) -> list[Action]:
        """Give an operation that fails because no hub could take the device.

        Source: assumed, the code too.
        """
        return self._accept(session, topic, now, "the IoT hub is not available")

    def still_assigning(self, session: Session, topic: str, retry_after: int) -> list[Action]:
        """Answer a poll with 202, whatever has come of the operation."""
        command = parse_topic(topic)
        assert isinstance(command, GetOperationStatus)
        return self._answer(session, topic, format_assigning(command.operation_id, session.device_id, retry_after))

    def pretend(self, session: Session, topic: str, now: datetime) -> list[Action] | None:
        """Answer a poll for an operation that the service never had; None for any other."""
        command = parse_topic(topic)
        assert isinstance(command, GetOperationStatus)
        operation_id = command.operation_id
        pretended = self._pretended.get(operation_id)
        if pretended is None:
            return None
        begun_at, failure = pretended
        if failure is None:
            return self.still_assigning(session, topic, self._device_api.settings.retry_after_seconds)
        assert isinstance(session, DpsSession)
        blank = Registration(registration_id=session.device_id, created_at=begun_at, last_updated_at=begun_at)
        failed = blank.begin(session.device_id, operation_id, begun_at).fail(HUB_UNAVAILABLE_CODE, failure, now)
        operation = DpsOperation(operation_id, failed)
        return self._answer(session, topic, format_operation_status(operation, session.api_version, 0))

    def _accept(self, session: Session, topic: str, now: datetime, failure: str | None) -> list[Action]:
        oldest = next(iter(self._pretended), None)
        if oldest is not None and (
            len(self._pretended) >= MAX_PRETENDED or self._pretended[oldest][0] < now - OPERATION_LIFETIME
        ):
            del self._pretended[oldest]
        operation_id = format_operation_id(now, uuid4())
        self._pretended[operation_id] = (now, failure)
        accepted = format_accepted(operation_id, self._device_api.settings.retry_after_seconds)
        return self._answer(session, topic, accepted)

    def _answer(self, session: Session, topic: str, response: Response) -> list[Action]:
        assert isinstance(session, DpsSession)
        if session.granted_qos is None:
            return []
        request_id = parse_topic(topic).request_id
        response_topic = format_response_topic(response.status, request_id, response.retry_after_seconds)
        return [Publish(session.key, response_topic, response.body, session.granted_qos)]


class HubWire:
    """The topics of a hub; like the hub itself it answers those who subscribe to the answers, at the granted QoS."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def operation(self, topic: str) -> Operation | None:
        """Tell telemetry from the requests on `$iothub/`."""
        if not topic.startswith("$iothub/"):
            return Operation.TELEMETRY
        try:
            return _HUB_OPERATIONS[parse_service_topic(topic).operation]
        except UnknownHubTopic:
            return None

    def enrollment(self, session: Session, now: datetime) -> str:  # noqa: ARG002 - the protocol
        """Say nothing: hubs know of no enrollments."""
        return ""

    def hub_for(self, session: Session, payload: bytes, now: datetime) -> str:  # noqa: ARG002 - the protocol
        """Say nothing: hubs assign no devices."""
        return ""

    def refuse(self, session: Session, topic: str, status: int, retry_after: int, now: datetime) -> list[Action]:
        """Answer a twin or certificate request with an error; a certificate request is told when to come again.

        Source: iot-mqtt-connect-to-iot-hub.md (documented); 429002 for renewals: azure-iot-sdk-java feature/csr (sdk).
        """
        request = parse_service_topic(topic)
        if request.request_id is None:
            return []
        if request.operation is not HubOperation.ISSUE_CERTIFICATE:
            return self._answer(session, TWIN_FILTER, format_twin_topic(status, request.request_id), b"")
        error = _HUB_ERRORS.get(status, ServiceUnavailable)("injected: try again later")
        body: dict[str, Any] = json.loads(format_error_body(error, now))
        body["retryAfter"] = retry_after
        response_topic = format_credentials_topic(status, request.request_id)
        return self._answer(session, CREDENTIALS_FILTER, response_topic, json.dumps(body).encode())

    def accept_for_ever(self, session: Session, topic: str, now: datetime) -> list[Action]:
        """Accept a certificate request that comes to nothing."""
        request = parse_service_topic(topic)
        if request.request_id is None:
            return []
        body = {"correlationId": str(uuid4()), "operationExpires": format_timestamp(now + timedelta(hours=12))}
        response_topic = format_credentials_topic(202, request.request_id)
        return self._answer(session, CREDENTIALS_FILTER, response_topic, json.dumps(body).encode())

    def _answer(self, session: Session, topic_filter: str, topic: str, body: bytes) -> list[Action]:
        subscription = self._sessions.subscriptions(session.key).get(topic_filter)
        if subscription is None:
            return []
        qos = subscription.qos if topic_filter == CREDENTIALS_FILTER else 0
        return [Publish(session.key, topic, body, qos)]


class DpsThrottled(DpsError):
    """More was asked for than DPS allows. Status: documented, the last three digits and the text: assumed."""

    error_code: ClassVar[int] = 429000
    wire_message: ClassVar[str] = "Throttled"


class DpsFailed(DpsError):
    """DPS failed. Code: assumed."""

    error_code: ClassVar[int] = 500000


class DpsUnavailable(DpsError):
    """DPS is not there for now. Code: assumed."""

    error_code: ClassVar[int] = 503000


class ThrottleBacklogLimitExceeded(HubError):
    """429002: more was asked for than the hub's units allow."""

    code: ClassVar[int] = 429002


class InternalError(HubError):
    """500001: the hub failed."""

    code: ClassVar[int] = 500001


class ServiceUnavailable(HubError):
    """503001: the hub is not there for now."""

    code: ClassVar[int] = 503001


_HUB_ERRORS: Final[dict[int, Callable[[str], HubError]]] = {
    429: ThrottleBacklogLimitExceeded,
    500: InternalError,
    503: ServiceUnavailable,
}
_HUB_OPERATIONS: Final = {
    HubOperation.GET_TWIN: Operation.TWIN,
    HubOperation.PATCH_REPORTED: Operation.TWIN,
    HubOperation.ANSWER_METHOD: Operation.METHOD,
    HubOperation.ISSUE_CERTIFICATE: Operation.RENEW,
}


def _dps_refusal(status: int, retry_after: int, now: datetime) -> Response:
    error = next(each for each in (DpsThrottled, DpsFailed, DpsUnavailable) if each.error_code // 1000 == status)
    answer = format_error(error("injected"), uuid4(), now)
    return Response(answer.status, answer.body, retry_after)
