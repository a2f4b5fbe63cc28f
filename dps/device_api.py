"""What a device can ask of a DPS, over MQTT or HTTPS: to be believed, to be registered, and how far that is."""

import logging
from dataclasses import replace
from datetime import datetime

from adr.audit import AuditKind, AuditTrail
from dps.api_version import ApiVersion
from dps.assignment import Assigner
from dps.attestation import attest
from dps.credentials import Attested, Credentials
from dps.enrollments import Enrollments
from dps.errors import DpsError, OperationNotFound
from dps.operations import Operations
from dps.provisioning import Provisioning
from dps.registration import Registration
from dps.registration_id import registration_key
from dps.registrations import Registrations
from dps.request import parse_register_request
from dps.response import Response, format_accepted, format_disabled, format_operation_status
from dps.settings import DpsSettings
from hub.hub import Hub

log = logging.getLogger("dps")


class DeviceApi:
    """The device side of one DPS, without a transport.

    A DpsError means that the device is to be told so. What was decided is in the store when a method returns.
    """

    def __init__(
        self,
        settings: DpsSettings,
        enrollments: Enrollments,
        registrations: Registrations,
        operations: Operations,
        assigner: Assigner,
        *,
        audit: AuditTrail,
    ) -> None:
        self.settings = settings
        self._enrollments = enrollments
        self._registrations = registrations
        self._operations = operations
        self._assigner = assigner
        self._audit = audit
        self._provisioning = Provisioning(settings, enrollments, registrations, operations, assigner, audit=audit)

    def attest(self, credentials: Credentials, now: datetime) -> Attested:
        """Find the enrollment that knows these credentials, enabled or not.

        Raises:
            CaCertificateNotFound: no enrollment trusts the presented chain.
            InvalidCertificate: the presented chain is not valid, or for another device.
            Unauthorized: the token is not signed by a key of an enrollment, or there is no credential at all.
        """
        return attest(self._enrollments, credentials, now)

    def register(self, attested: Attested, api_version: ApiVersion, body: bytes, now: datetime) -> Response:
        """Begin a registration, and with no assigning delay also finish it: the answer is 202 either way.

        Raises:
            BadRequest: the body is too large or names another registration ID.
            CsrRefused: only with `immediate_csr_errors`: the CSR breaks a rule, and there is a policy to sign it.
            DeserializationError: the body, or its CSR, cannot be read.
            RegistrationInProgress: the device has asked for something else that is not done yet.

        Source: iot-mqtt-connect-to-iot-dps.md (documented); IoT Edge accepts nothing but 202 (sdk).
        """
        registration_id = attested.registration_id
        request = parse_register_request(body, registration_id, api_version, strict=self.settings.strict)
        registration = self._provisioning.settled(registration_id, now)
        if not attested.enrollment.enabled:
            return self._refuse_disabled(registration, attested, now)
        has_policy = attested.enrollment.credential_policy_name is not None
        if request.csr is not None and has_policy and self.settings.immediate_csr_errors:
            self._assigner.check_csr(request.csr, registration_id)
        repeated = self._provisioning.repeated(registration, request)
        if repeated is not None:
            return format_accepted(repeated, self.settings.retry_after_seconds)
        operation = self._provisioning.begin(registration, attested, api_version, request, now)
        return format_accepted(operation.operation_id, self.settings.retry_after_seconds)

    def hub_for(self, attested: Attested, api_version: ApiVersion, body: bytes, now: datetime) -> Hub:
        """Tell which hub a registration with this body would be assigned to now.

        Raises:
            DpsError: it would be refused, or there is no hub for the device.
        """
        registration_id = attested.registration_id
        request = parse_register_request(body, registration_id, api_version, strict=self.settings.strict)
        registration = self._registrations.find(registration_id) or Registration(
            registration_id=registration_id, created_at=now, last_updated_at=now
        )
        return self._assigner.hub_for(registration, attested, has_csr=request.csr is not None)

    def operation_status(
        self, registration_id: str, operation_id: str, api_version: ApiVersion, now: datetime
    ) -> Response:
        """Answer a poll of a device that has been attested.

        Raises:
            OperationNotFound: there is no such operation, it has expired, or it is another device's.

        Source: iot-mqtt-connect-to-iot-dps.md (documented); the refusal's code is assumed.
        """
        operation = self._operations.get(operation_id)
        if operation is None:
            raise OperationNotFound(f"operation {operation_id[:80]!r} does not exist or has expired")
        owner = operation.registration.registration_id
        if registration_key(owner) != registration_key(registration_id):
            raise OperationNotFound(f"operation {operation_id} belongs to device {owner!r}")
        if operation.pending and operation.pending.due_at <= now:
            operation = self._provisioning.finish(operation, operation.pending, now)
        return format_operation_status(operation, api_version, self.settings.retry_after_seconds)

    def note_refusal(self, credentials: Credentials, error: DpsError, now: datetime) -> None:
        """Keep in the audit trail that a device was answered with an error."""
        self._audit.record(
            AuditKind.REFUSED,
            now,
            service=self.settings.name,
            device_id=credentials.registration_id,
            serial_number=credentials.peer_chain.serial_number,
            reason=f"{error.error_code}: {error}",
        )

    def tick(self, now: datetime) -> None:
        """Finish what is due and forget what has expired; called about once a second."""
        for operation in self._operations.due(now):
            assert operation.pending is not None, f"operation {operation.operation_id} is listed as pending"
            self._provisioning.finish(operation, operation.pending, now)
        forgotten = self._operations.prune(now, self.settings.operation_lifetime)
        if forgotten:
            log.debug("DPS %s: %d operations expired", self.settings.name, forgotten)

    def _refuse_disabled(self, registration: Registration, attested: Attested, now: datetime) -> Response:
        log.warning("device %s: enrollment %s is disabled", attested.registration_id, attested.enrollment.name)
        self._audit.record(
            AuditKind.REFUSED,
            now,
            service=self.settings.name,
            device_id=attested.registration_id,
            reason=f"enrollment {attested.enrollment.name} is disabled",
        )
        disabled = replace(registration.disable(now), registration_id=attested.registration_id)
        self._registrations.put(disabled)
        return format_disabled(disabled)
