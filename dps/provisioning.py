"""The course of a registration: begun, carried out at once or when it is due, and recorded."""

import logging
from datetime import datetime
from uuid import uuid4

from adr.audit import AuditKind, AuditTrail
from dps.api_version import ApiVersion
from dps.assignment import Assigner
from dps.credentials import Attested
from dps.enrollment import Enrollment
from dps.enrollments import Enrollments
from dps.errors import DpsError, EnrollmentNotFound
from dps.operation import Operation, PendingRequest, format_operation_id
from dps.operations import Operations
from dps.registration import Registration, RegistrationStatus
from dps.registrations import Registrations
from dps.request import RegisterRequest
from dps.settings import DpsSettings

log = logging.getLogger("dps")

Chain = tuple[str, ...]


class Provisioning:
    """Takes registrations from `assigning` to their outcome; everything it decides is in the store when it returns."""

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
        self._settings = settings
        self._enrollments = enrollments
        self._registrations = registrations
        self._operations = operations
        self._assigner = assigner
        self._audit = audit

    def settled(self, registration_id: str, now: datetime) -> Registration:
        """Read a device's registration, or a new one, after finishing an operation of it that is due."""
        registration = self._registrations.find(registration_id)
        if registration is None:
            return Registration(registration_id=registration_id, created_at=now, last_updated_at=now)
        if registration.status is not RegistrationStatus.ASSIGNING:
            return registration
        operation = self._operations.get(registration.operation_id)
        assert operation and operation.pending, f"{registration.operation_id} is assigning, so it is pending"
        if operation.pending.due_at <= now:
            return self.finish(operation, operation.pending, now).registration
        return registration

    def repeated(self, registration: Registration, request: RegisterRequest) -> str | None:
        """Return the operation that works on the same request; sent again after a lost connection, it is no conflict.

        Source: assumed; that another request is one is a comment in the C# E2E tests (sdk).
        """
        if registration.status is not RegistrationStatus.ASSIGNING:
            return None
        operation = self._operations.get(registration.operation_id)
        is_same = operation and operation.pending and operation.pending.request == request
        return registration.operation_id if is_same else None

    def begin(
        self,
        registration: Registration,
        attested: Attested,
        api_version: ApiVersion,
        request: RegisterRequest,
        now: datetime,
    ) -> Operation:
        """Begin an operation, and with no assigning delay also finish it.

        Raises:
            RegistrationInProgress: another one is not done yet.
        """
        operation_id = format_operation_id(now, uuid4())
        registration = registration.begin(attested.registration_id, operation_id, now)
        chain: Chain = ()
        pending = None
        if self._settings.assigning_delay:
            pending = self._pending(attested, api_version, request, now)
        else:
            registration, chain = self._assign(registration, attested, api_version, request, now)
        operation = Operation(operation_id, registration, self._registrations.put(registration), chain, pending)
        self._operations.put(operation)
        return operation

    def finish(self, operation: Operation, pending: PendingRequest, now: datetime) -> Operation:
        """Finish a stored operation with the enrollment as it is now."""
        operation_id = operation.operation_id
        registration = self._registrations.get(operation.registration.registration_id)
        if (registration.status, registration.operation_id) == (RegistrationStatus.ASSIGNING, operation_id):
            registration, chain = self._assign_enrolled(registration, pending, now)
            finished = Operation(operation_id, registration, self._registrations.put(registration), chain)
        else:
            # The device was told in the meantime that its enrollment is disabled: that is the outcome here too.
            finished = Operation(operation_id, operation.registration.disable(now), operation.etag)
        self._operations.finish(finished)
        return finished

    def _pending(
        self, attested: Attested, api_version: ApiVersion, request: RegisterRequest, now: datetime
    ) -> PendingRequest:
        return PendingRequest(
            request=request,
            api_version=api_version,
            enrollment_name=attested.enrollment.name,
            is_group=attested.enrollment_group_id is not None,
            key_id=attested.key_id,
            thumbprint=attested.thumbprint,
            due_at=now + self._settings.assigning_delay,
        )

    def _assign_enrolled(
        self, registration: Registration, pending: PendingRequest, now: datetime
    ) -> tuple[Registration, Chain]:
        name = pending.enrollment_name
        enrollment: Enrollment | None = (
            self._enrollments.groups.find(name) if pending.is_group else self._enrollments.individuals.find(name)
        )
        if enrollment is None:
            return self._fail(registration, EnrollmentNotFound(f"enrollment {name!r} was deleted meanwhile"), now), ()
        if not enrollment.enabled:
            return registration.disable(now), ()
        attested = Attested(enrollment, registration.registration_id, pending.key_id, pending.thumbprint)
        return self._assign(registration, attested, pending.api_version, pending.request, now)

    def _assign(
        self,
        registration: Registration,
        attested: Attested,
        api_version: ApiVersion,
        request: RegisterRequest,
        now: datetime,
    ) -> tuple[Registration, Chain]:
        """Carry out a registration; a broken rule is its outcome, and what was done before it stays."""
        csr = request.csr
        try:
            registration = self._assigner.place(registration, attested, api_version, now, has_csr=csr is not None)
            chain = self._assigner.issue(registration, attested, csr, now)
        except DpsError as error:
            return self._fail(registration, error, now), ()
        assigned = registration.assign(now, is_issued=bool(chain))
        log.info("device %s: assigned to %s, %s", assigned.registration_id, assigned.assigned_hub, assigned.substatus)
        return assigned, chain

    def _fail(self, registration: Registration, error: DpsError, now: datetime) -> Registration:
        name = registration.registration_id
        log.warning("device %s: registration failed with %d: %s", name, error.error_code, error)
        reason = f"registration failed with {error.error_code}: {error}"
        self._audit.record(AuditKind.REFUSED, now, service=self._settings.name, device_id=name, reason=reason)
        return registration.fail(error.error_code, error.message, now)
