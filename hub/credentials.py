"""Certificate renewal over MQTT: a request is accepted with 202, and its result follows with 200 or an error."""

import json
import logging
from dataclasses import replace
from datetime import datetime
from uuid import uuid4

from adr.audit import AuditKind
from adr.errors import AdrError
from adr.issuance import Requester
from adr.links import LinkedKind
from adr.registry import AdrRegistry
from adr.store import Store
from broker.gateway import Action, Publish
from certs.csr import CsrError, parse_csr
from hub.credential_operation import Operation, OperationEvent, OperationState, Result, next_state
from hub.credential_operations import CredentialOperations
from hub.credential_request import ANY_REQUEST, CredentialRequest, parse_credential_request
from hub.error_body import format_error_body, format_timestamp
from hub.errors import (
    CredentialManagementPreconditionFailed,
    CredentialOperationFailed,
    CredentialOperationPending,
    HubError,
    InvalidProtocolVersion,
    OperationNotAvailableInCurrentTier,
    PreconditionFailed,
    ServerError,
)
from hub.session import HubSession, Sessions
from hub.settings import HubSettings
from hub.topics import CREDENTIALS_FILTER, format_credentials_topic

log = logging.getLogger("hub")

FIRST_API_VERSION = "2025-08-01"
# Issuing costs about half a millisecond: a burst of due operations must not stop the loop for long.
MAX_DUE_PER_TICK = 100


class Credentials:
    """Takes the certificate requests of the devices of one hub, and keeps each result until its device has it."""

    def __init__(self, settings: HubSettings, store: Store, adr: AdrRegistry, sessions: Sessions) -> None:
        self._settings = settings
        self._operations = CredentialOperations(store, settings.name)
        self._adr = adr
        self._link = adr.links.of(LinkedKind.HUB, settings.name, settings.namespace)
        self._sessions = sessions
        # By session key: the result that its present connection was sent and has not acknowledged yet.
        self._in_flight: dict[str, str] = {}

    def request(self, session: HubSession, request_id: str | None, body: bytes, now: datetime) -> list[Action]:
        """Take a request: 202 and, unless issuing is delayed, the result right after; or an error.

        Without a request ID, or while the device does not subscribe to the answers, nothing happens at all.

        Source: csr-scenarions.md, scenarios 014, 016 and 026 (observed).
        """
        if request_id is None:
            log.warning("device %s: certificate request without $rid is not answered", session.device_id)
            return []
        if self._qos(session.key) is None:
            log.warning("device %s: certificate request before SUBSCRIBE %s", session.device_id, CREDENTIALS_FILTER)
            return []
        try:
            operation = self._accept(session, request_id, body, now)
        except HubError as error:
            self._note_refusal(session.device_id, request_id, error, now)
            return self._answer(session.key, request_id, Result(error.status, format_error_body(error, now)))
        actions = self._answer(session.key, request_id, Result(202, _format_accepted(operation)))
        return actions + (self._complete(operation, now) if operation.due_at <= now else [])

    def opened(self, session: HubSession) -> list[Action]:
        """Send what is held for a device whose new connection resumes its subscription to the answers.

        Source: csr-scenarions.md, scenario 019 (observed).
        """
        self._in_flight.pop(session.key, None)
        return self.deliver(session) if session.session_present else []

    def deliver(self, session: HubSession) -> list[Action]:
        """Send what is held for a device that subscribes to the answers, once on each connection.

        SDKs that resume a session subscribe again all the same, before their PUBACK is here.

        Source: csr-scenarions.md, scenarios 018–021 (observed); MQTT 3.1.1 §4.4 sends again at a reconnect only
        (documented).
        """
        operation = self._operations.get(session.device_id)
        if operation is None or operation.result is None:
            return []
        if self._in_flight.get(session.key) == operation.correlation_id:
            return []
        return self._answer(session.key, operation.request_id, operation.result, operation.correlation_id)

    def acknowledged(self, session: HubSession, token: str) -> None:
        """Forget the result that the device has acknowledged."""
        operation = self._operations.get(session.device_id)
        if operation is None or operation.correlation_id != token:
            return  # superseded by a newer request
        if next_state(operation, OperationEvent.DELIVER) is not None:
            self._forget(operation)

    def cancel(self, device_id: str) -> None:
        """Forget a device's request and its result, as for a device that was revoked in between."""
        operation = self._operations.get(device_id)
        if operation is not None:
            self._forget(operation)

    def tick(self, now: datetime) -> list[Action]:
        """Issue what is due, and forget what has expired."""
        actions: list[Action] = []
        for operation in self._operations.due(now, MAX_DUE_PER_TICK):
            if now >= operation.expires_at:
                log.info("device %s: certificate request %s expired", operation.device_id, operation.request_id)
                self._forget(operation)
            else:
                actions += self._complete(operation, now)
        return actions

    def _accept(self, session: HubSession, request_id: str, body: bytes, now: datetime) -> Operation:
        if self._settings.strict and session.api_version < FIRST_API_VERSION:
            raise InvalidProtocolVersion(
                f"api-version {session.api_version!r} is older than {FIRST_API_VERSION}-preview"
            )
        request = parse_credential_request(body, session.device_id)
        self._check_policy(session.device_id)
        present = self._present(session.device_id, now)
        _check_conflict(present, request)
        operation = Operation(
            device_id=session.device_id,
            request_id=request_id,
            correlation_id=str(uuid4()),
            expires_at=now + self._settings.operation_lifetime,
            due_at=now + self._settings.issuing_delay,
            csr=request.csr,
        )
        self._operations.put(operation, over=present)
        return operation

    def _present(self, device_id: str, now: datetime) -> Operation | None:
        operation = self._operations.get(device_id)
        if operation is not None and now >= operation.expires_at:
            self._forget(operation)
            return None
        return operation

    def _forget(self, operation: Operation) -> None:
        self._operations.delete(operation)
        self._in_flight.pop(self._sessions.key(operation.device_id), None)

    def _check_policy(self, device_id: str) -> None:
        namespace = self._link.namespace
        if namespace is None:
            raise OperationNotAvailableInCurrentTier(f"hub {self._settings.name} is linked to no namespace")
        device = self._adr.device(namespace, device_id)
        if device is None or device.policy is None or not device.enabled:
            raise CredentialManagementPreconditionFailed(
                f"device {device_id} is not enabled, or has no credential policy, in namespace {namespace}"
            )

    def _complete(self, operation: Operation, now: datetime) -> list[Action]:
        """Have the CA issue, keep the result, and send it if the device subscribes to the answers."""
        try:
            result = Result(200, self._issue(operation, now))
        except HubError as error:
            self._note_refusal(operation.device_id, operation.request_id, error, now)
            result = Result(error.status, format_error_body(error, now))
        completed = replace(operation, result=result)
        self._operations.put(completed, over=operation)
        key = self._sessions.key(operation.device_id)
        return self._answer(key, operation.request_id, result, operation.correlation_id)

    def _issue(self, operation: Operation, now: datetime) -> bytes:
        try:
            request = parse_csr(operation.csr, operation.device_id, strict=self._settings.strict)
            chain = self._adr.issue(
                str(self._link.namespace), operation.device_id, request, now, Requester(self._settings.name)
            )
        except CsrError as error:
            raise _csr_refused(operation, str(error)) from error
        except AdrError as error:
            raise ServerError(f"Unable to issue a certificate: {error}", _info(operation)) from error
        log.info(
            "device %s: certificate %s renewed by request %s",
            operation.device_id,
            chain.serial_number,
            operation.request_id,
        )
        self._adr.audit.record(
            AuditKind.RENEWED,
            now,
            service=self._settings.name,
            device_id=operation.device_id,
            serial_number=chain.serial_number,
            reason=f"request {operation.request_id}",
        )
        certificates = list(chain.base64_der())
        if self._settings.bare_certificate_array:
            return json.dumps(certificates).encode()
        return json.dumps({"correlationId": operation.correlation_id, "certificates": certificates}).encode()

    def _note_refusal(self, device_id: str, request_id: str, error: HubError, now: datetime) -> None:
        log.info("device %s: certificate request %s: %s", device_id, request_id, error)
        reason = f"certificate request {request_id}: {error.status}: {error}"
        self._adr.audit.record(AuditKind.REFUSED, now, service=self._settings.name, device_id=device_id, reason=reason)

    def _qos(self, session_key: str) -> int | None:
        subscription = self._sessions.subscriptions(session_key).get(CREDENTIALS_FILTER)
        return subscription.qos if subscription is not None else None

    def _answer(self, session_key: str, request_id: str, result: Result, token: str = "") -> list[Action]:
        """Publish at the granted QoS (assumed), or not at all without a subscription."""
        qos = self._qos(session_key)
        if qos is None:
            return []
        if token:
            self._in_flight[session_key] = token
        topic = format_credentials_topic(result.status, request_id)
        return [Publish(session_key, topic, result.body, qos, token)]


def _check_conflict(present: Operation | None, request: CredentialRequest) -> None:
    pending = present if present is not None and present.state is OperationState.PENDING else None
    if request.replace not in (None, ANY_REQUEST) and (pending is None or pending.request_id != request.replace):
        raise PreconditionFailed(
            "No active certificate request found to replace. Ensure the request ID in the 'replace' property matches "
            "an existing pending request.",
            {"requestId": str(request.replace)},
        )
    event = OperationEvent.REQUEST if request.replace is None else OperationEvent.REPLACE
    if next_state(present, event) is None:
        assert present is not None, "a device without an operation may always request one"
        raise CredentialOperationPending(
            "A credential management operation is already active. Use the requestId in info to check the status of "
            "the existing request, or send a new request with 'replace' to cancel and start a new one.",
            _info(present),
        )


def _csr_refused(operation: Operation, reason: str) -> CredentialOperationFailed:
    return CredentialOperationFailed(
        f"Unable to complete the certificate request at this time: {reason}",
        {
            **_info(operation),
            "credentialError": "400000",
            "credentialMessage": "CSR did not pass verification",
        },
    )


def _info(operation: Operation) -> dict[str, str]:
    return {
        "requestId": operation.request_id,
        "correlationId": operation.correlation_id,
        "operationExpires": format_timestamp(operation.expires_at),
    }


def _format_accepted(operation: Operation) -> bytes:
    body = {"correlationId": operation.correlation_id, "operationExpires": format_timestamp(operation.expires_at)}
    return json.dumps(body, separators=(",", ":")).encode()
