"""The registration exchange with DPS as a state machine: messages in, messages out, no clock and no socket.

`start` gives the first request. Each answer goes to `receive`, which gives the next step: `Ask` (send this request
after so many seconds) or the `RegistrationResult`. What DPS refuses is raised.
"""

import json
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from cryptography import x509

from device_sim.errors import ProvisioningError, UnexpectedResponse
from device_sim.response import chain_of, number_of, object_of, parse_object, text_of
from device_sim.topics import (
    DPS_PREFIX,
    ResponseTopic,
    format_operation_status_topic,
    format_register_topic,
    parse_response_topic,
)

# Source: azure-iot-sdk-python pipeline_stages_provisioning.py (sdk).
DEFAULT_RETRY_AFTER_SECONDS = 2
THROTTLED_STATUS = 429


class RegistrationState(Enum):
    """How far a registration is."""

    NEW = auto()
    REGISTERING = auto()
    ASSIGNING = auto()
    FINISHED = auto()


@dataclass(frozen=True, slots=True)
class Message:
    """One PUBLISH in either direction."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Ask:
    """Send this request after so many seconds; `refusal` is what DPS said when it wants to be asked again later."""

    after_seconds: float
    request: Message
    refusal: ProvisioningError | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Assignment:
    """Where a device belongs: the hub's host name and the device's ID there."""

    hub: str
    device_id: str


@dataclass(frozen=True, slots=True)
class RegistrationResult:
    """What DPS gave; `chain`, leaf first, is empty when no certificate was asked for or issued."""

    assignment: Assignment
    substatus: str
    chain: tuple[x509.Certificate, ...] = ()
    payload: Any = None


class Registration:
    """One registration of one device, over one connection or several."""

    def __init__(self, registration_id: str, *, csr: str = "", payload: dict[str, Any] | None = None) -> None:
        self.registration_id = registration_id
        self._body: dict[str, Any] = {"registrationId": registration_id}
        if csr:
            self._body["csr"] = csr
        if payload is not None:
            self._body["payload"] = payload
        self._request_number = 0
        self._operation_id = ""
        self.state = RegistrationState.NEW

    @property
    def request_id(self) -> str:
        """The request that an answer is awaited for."""
        return str(self._request_number)

    def start(self) -> Message:
        """Give the first request, or after a broken connection the one to go on with."""
        if self.state is RegistrationState.ASSIGNING:
            return self._status_request()
        self.state = RegistrationState.REGISTERING
        self._request_number += 1
        return Message(format_register_topic(self.request_id), json.dumps(self._body).encode())

    def receive(self, message: Message) -> Ask | RegistrationResult | None:
        """Take an answer and give the next step; None for the answer to another request.

        Raises:
            ProvisioningError: DPS refused, or the registration ended as failed or disabled.
            UnexpectedResponse: the answer cannot be read.
        """
        topic = parse_response_topic(message.topic, DPS_PREFIX)
        if topic.request_id != self.request_id or self.state is RegistrationState.FINISHED:
            return None
        if topic.status >= 300:
            return self._take_error(topic, message.payload)
        return self._take_status(topic, parse_object(message.payload))

    def _take_error(self, topic: ResponseTopic, payload: bytes) -> Ask:
        if topic.status >= THROTTLED_STATUS:
            return Ask(_wait(topic), self.start(), _error_of(topic, payload))
        self.state = RegistrationState.FINISHED
        raise _error_of(topic, payload)

    def _take_status(self, topic: ResponseTopic, body: dict[str, Any]) -> Ask | RegistrationResult:
        status = text_of(body, "status")
        self._operation_id = text_of(body, "operationId") or self._operation_id
        if status in ("assigning", "unassigned"):
            if not self._operation_id:
                raise UnexpectedResponse(f"the status is {status!r}, but there is no operationId to ask about")
            self.state = RegistrationState.ASSIGNING
            return Ask(_wait(topic), self._status_request())
        self.state = RegistrationState.FINISHED
        if status == "assigned":
            return _result_of(object_of(body, "registrationState"))
        if status in ("failed", "disabled"):
            raise _failure_of(topic.status, status, object_of(body, "registrationState"))
        raise UnexpectedResponse(f"the registration has the unknown status {status[:40]!r}")

    def _status_request(self) -> Message:
        self._request_number += 1
        return Message(format_operation_status_topic(self.request_id, self._operation_id), b"")


def _error_of(topic: ResponseTopic, payload: bytes) -> ProvisioningError:
    body = parse_object(payload) if payload else {}
    code = number_of(body, "errorCode", topic.status * 1000)
    return ProvisioningError(topic.status, code, text_of(body, "message"), text_of(body, "trackingId"))


def _wait(topic: ResponseTopic) -> float:
    return DEFAULT_RETRY_AFTER_SECONDS if topic.retry_after_seconds is None else topic.retry_after_seconds


def _result_of(state: dict[str, Any]) -> RegistrationResult:
    assigned_hub, device_id = text_of(state, "assignedHub"), text_of(state, "deviceId")
    if not assigned_hub or not device_id:
        raise UnexpectedResponse("the status is 'assigned', but assignedHub or deviceId is missing")
    return RegistrationResult(
        Assignment(assigned_hub, device_id),
        text_of(state, "substatus"),
        chain_of(state, "issuedCertificateChain"),
        state.get("payload"),
    )


def _failure_of(topic_status: int, status: str, state: dict[str, Any]) -> ProvisioningError:
    """Build the error of a final answer, which comes with topic status 200 because the query succeeded."""
    message = text_of(state, "errorMessage") or f"the registration is {status}"
    return ProvisioningError(topic_status, number_of(state, "errorCode", 0), message)
