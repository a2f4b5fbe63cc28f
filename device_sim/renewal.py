"""The renewal exchange with the hub as a state machine: one request, 202, then 200 with the chain."""

import json
from enum import Enum, auto
from typing import Any

from cryptography import x509

from device_sim.errors import CredentialError, UnexpectedResponse
from device_sim.registration import Message
from device_sim.response import chain_of, number_of, object_of, parse_object, text_of
from device_sim.topics import (
    CREDENTIALS_PREFIX,
    MAX_RETRY_AFTER_SECONDS,
    format_issue_certificate_topic,
    parse_response_topic,
)

ACCEPTED_STATUS = 202
CONFLICT_STATUS = 409
REPLACE_ANY = "*"


class RenewalState(Enum):
    """How far a renewal is."""

    REQUESTED = auto()
    ACCEPTED = auto()
    FINISHED = auto()


class Renewal:
    """One request for a new certificate; `replace` cancels a request that is still pending at the hub."""

    def __init__(self, device_id: str, csr: str, request_id: str, *, replace: str = "") -> None:
        self._body = {"id": device_id, "csr": csr}
        if replace:
            self._body["replace"] = replace
        self._request_id = request_id
        self.state = RenewalState.REQUESTED

    def start(self) -> Message:
        """Give the request.

        Source: azure-iot-sdk-csharp feature/iot-csr-preview (sdk).
        """
        return Message(format_issue_certificate_topic(self._request_id), json.dumps(self._body).encode())

    def receive(self, message: Message) -> tuple[x509.Certificate, ...] | None:
        """Take an answer: the chain, leaf first, when it is there; None while it is still to come.

        Raises:
            CredentialError: the hub refused, at once or after it had accepted.
            UnexpectedResponse: the answer cannot be read.
        """
        topic = parse_response_topic(message.topic, CREDENTIALS_PREFIX)
        if topic.request_id != self._request_id or self.state is RenewalState.FINISHED:
            return None
        body = parse_object(message.payload)
        if topic.status == ACCEPTED_STATUS:
            self.state = RenewalState.ACCEPTED
            return None
        self.state = RenewalState.FINISHED
        if topic.status >= 300:
            raise _error_of(topic.status, body)
        chain = chain_of(body, "certificates")
        if not chain:
            raise UnexpectedResponse("the renewal succeeded, but its certificates are missing")
        return chain


def _error_of(status: int, body: dict[str, Any]) -> CredentialError:
    info = {name: str(value) for name, value in object_of(body, "info").items()}
    code = number_of(body, "errorCode", status * 1000)
    error = CredentialError(status, code, text_of(body, "message"), text_of(body, "trackingId"), info)
    error.retry_after_seconds = min(number_of(body, "retryAfter", 0), MAX_RETRY_AFTER_SECONDS)
    return error
