"""What an attested device gets: a hub, an identity there and in ADR, and a certificate if it asked for one."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from adr.audit import AuditKind
from adr.device import DISABLED_REASON, AdrDevice
from adr.errors import AdrError
from adr.issuance import Requester
from adr.links import LinkedKind
from adr.registry import AdrRegistry
from certs.csr import CertificateRequest, CsrError, parse_csr
from dps.allocation import choose_hub
from dps.api_version import ApiVersion
from dps.credentials import Attested, hub_authentication
from dps.errors import CsrRefused, NoHubAvailable, RegistryRefused
from dps.registration import Registration, Substatus
from dps.registration_id import registration_key
from dps.settings import DpsSettings
from hub.hub import Hub
from hub.identity import Authentication, AuthenticationType, DeviceStatus
from hub.twin_json import parse_initial_twin

log = logging.getLogger("dps")


class Assigner:
    """Places devices in the linked hubs and has their CSRs signed."""

    def __init__(self, settings: DpsSettings, adr: AdrRegistry, hubs: Mapping[str, Hub]) -> None:
        self._settings = settings
        self._adr = adr
        self._hubs = hubs
        self._link = adr.links.of(LinkedKind.PROVISIONING_SERVICE, settings.name, settings.namespace)

    def place(
        self, registration: Registration, attested: Attested, api_version: ApiVersion, now: datetime, *, has_csr: bool
    ) -> Registration:
        """Choose the hub, create or update the identity there and in ADR, and leave the former hub.

        Raises:
            NoHubAvailable: no linked hub is allowed for this device.
            RegistryRefused: ADR did not register the device.

        Source: concept-certificate-issuance.md gives the order (documented).
        """
        certified = _is_certified(registration, attested, has_csr=has_csr)
        host_name = self._choose_hub(registration, attested, certified=certified)
        device_id = _device_id(registration, attested)
        authentication = (
            Authentication(AuthenticationType.CERTIFICATE_AUTHORITY) if certified else hub_authentication(attested)
        )
        self._warn_of_onboarding_certificate(device_id, attested, certified=certified)
        _, is_new = self._hubs[host_name].registry.provision(device_id, authentication, now)
        self._begin_twin(registration, attested, host_name, device_id, now, is_new=is_new)
        recorded = self._register_in_namespace(device_id, attested, now)
        if recorded is not None and not recorded.enabled:
            self._disable(host_name, device_id, now)
        self._leave(registration, host_name, device_id)
        return replace(
            registration,
            attestation_type=attested.attestation_type,
            enrollment_group_id=attested.enrollment_group_id,
            assigned_hub=host_name,
            device_id=device_id,
            substatus=_substatus(registration, attested, host_name, api_version, is_new=is_new),
        )

    def hub_for(self, registration: Registration, attested: Attested, *, has_csr: bool) -> Hub:
        """Tell which hub `place` would choose.

        Raises:
            NoHubAvailable: no linked hub is allowed for this device.
        """
        certified = _is_certified(registration, attested, has_csr=has_csr)
        return self._hubs[self._choose_hub(registration, attested, certified=certified)]

    def issue(
        self, registration: Registration, attested: Attested, csr: bytes | None, now: datetime
    ) -> tuple[str, ...]:
        """Have the CSR signed by the policy of the enrollment; no CSR or no policy gives no chain.

        Raises:
            CsrRefused: the CSR breaks a rule.
            RegistryRefused: ADR does not issue for this device.

        Source: azure-iot-sdk c/samples/authentication/dps_csr_managed (sdk): no policy is no error.
        """
        namespace = self._link.namespace
        if csr is None or namespace is None or attested.enrollment.credential_policy_name is None:
            return ()
        assert registration.device_id, f"{registration.registration_id} was not placed"
        request = self.check_csr(csr, registration.registration_id)
        requester = Requester(self._settings.name, attested.enrollment.name)
        try:
            chain = self._adr.issue(namespace, registration.device_id, request, now, requester)
        except AdrError as error:
            raise RegistryRefused(str(error)) from error
        self._adr.audit.record(
            AuditKind.ISSUED,
            now,
            service=self._settings.name,
            device_id=registration.device_id,
            serial_number=chain.serial_number,
            reason=f"enrollment {attested.enrollment.name}, policy {attested.enrollment.credential_policy_name}",
        )
        return chain.base64_der()

    def check_csr(self, csr: bytes, registration_id: str) -> CertificateRequest:
        """Hold a DER CSR against the rules.

        Raises:
            CsrRefused: it breaks one.
        """
        try:
            return parse_csr(csr, registration_id, strict=self._settings.strict)
        except CsrError as error:
            raise CsrRefused(str(error)) from error

    def _warn_of_onboarding_certificate(self, device_id: str, attested: Attested, *, certified: bool) -> None:
        """Say what it means that a device goes on with the certificate that it came with.

        Source: iot-hub-certificate-management-concepts.md tells onboarding credentials, long-lived, from operational
        certificates, short-lived and renewed (documented); the words are ours.
        """
        if certified or self._link.namespace is None or not attested.thumbprint:
            return
        enrollment = attested.enrollment
        missing = "" if enrollment.credential_policy_name else f"name a policy in enrollment {enrollment.name} and "
        log.warning(
            "device %s: uses its onboarding certificate as its operational certificate: nobody renews it, and revoking "
            "in namespace %s does not reach it; %ssend a CSR instead",
            device_id,
            self._link.namespace,
            missing,
        )

    def _choose_hub(self, registration: Registration, attested: Attested, *, certified: bool) -> str:
        enrollment = attested.enrollment
        former = registration.assigned_hub
        if former is not None and former in self._hubs and not enrollment.reprovision_policy.update_hub_assignment:
            return former
        allowed = enrollment.iot_hubs or tuple(self._hubs)
        linked = [host_name for host_name in allowed if host_name in self._hubs]
        if not linked:
            raise NoHubAvailable(f"none of the hubs {list(allowed)} is linked to DPS {self._settings.name}")
        # A hub of another namespace would refuse what is issued here. Source: that none is chosen is assumed.
        if certified:
            linked = [name for name in linked if self._hubs[name].link.namespace == self._link.namespace]
        if not linked:
            raise NoHubAvailable(
                f"none of the hubs {list(allowed)} is linked to ADR namespace {self._link.namespace}, "
                "so none would accept the operational certificate"
            )
        policy = enrollment.allocation_policy or self._settings.allocation_policy
        return choose_hub(policy, linked, registration.registration_id)

    def _register_in_namespace(self, device_id: str, attested: Attested, now: datetime) -> AdrDevice | None:
        namespace = self._link.namespace
        if namespace is None:
            return None
        try:
            return self._adr.register_device(namespace, device_id, attested.enrollment.credential_policy_name, now)
        except AdrError as error:
            raise RegistryRefused(str(error)) from error

    def _disable(self, host_name: str, device_id: str, now: datetime) -> None:
        """Give a device that ADR has disabled no way in by a new identity.

        Source: concepts-certificate-policy-management.md: its hub identity is disabled (documented).
        """
        registry = self._hubs[host_name].registry
        identity = registry.get(device_id)
        if identity is not None and identity.enabled:
            disabled = replace(identity, status=DeviceStatus.DISABLED, status_reason=DISABLED_REASON)
            registry.update(disabled, now)

    def _begin_twin(
        self,
        registration: Registration,
        attested: Attested,
        host_name: str,
        device_id: str,
        now: datetime,
        *,
        is_new: bool,
    ) -> None:
        """Give the device its twin: from the hub it leaves, or the enrollment's initial one; else it keeps its own.

        Source: concepts-device-reprovision.md (documented); that modules and messages stay behind is assumed.
        """
        former, former_id = registration.assigned_hub, registration.device_id
        has_moved = former not in (None, host_name)
        twins = self._hubs[host_name].twins
        if has_moved and attested.enrollment.reprovision_policy.migrate_device_data and former in self._hubs:
            twins.keep(device_id, self._hubs[str(former)].twins.get(str(former_id)))
        elif has_moved or (is_new and attested.enrollment.initial_twin is not None):
            twins.keep(device_id, parse_initial_twin(attested.enrollment.initial_twin or {}, now))

    def _leave(self, registration: Registration, host_name: str, device_id: str) -> None:
        """Remove the identity that an earlier registration created somewhere else.

        Source: concepts-device-reprovision.md (documented).
        """
        former, former_id = registration.assigned_hub, registration.device_id
        if former is None or former_id is None or (former, former_id) == (host_name, device_id):
            return
        if former in self._hubs and self._hubs[former].registry.get(former_id) is not None:
            self._hubs[former].registry.delete(former_id)


def _is_certified(registration: Registration, attested: Attested, *, has_csr: bool) -> bool:
    """Tell whether the device will work with an issued certificate.

    One that once got a certificate keeps it when it registers without a CSR. Source: assumed.
    """
    return bool(attested.enrollment.credential_policy_name) and (has_csr or registration.is_issued)


def _device_id(registration: Registration, attested: Attested) -> str:
    """Return the enrollment's device ID, else the registration ID in the spelling the device first used.

    Source: concepts-service.md (documented); that the first spelling stays is assumed, as hubs tell case apart.
    """
    if attested.device_id:
        return attested.device_id
    former = registration.device_id
    if former and registration_key(former) == registration_key(registration.registration_id):
        return former
    return registration.registration_id


def _substatus(
    registration: Registration, attested: Attested, host_name: str, api_version: ApiVersion, *, is_new: bool
) -> Substatus:
    """Say how the device came to its hub.

    Source: concepts-device-reprovision.md (documented); a device that may never move is told `initialAssignment`
    under every api-version (assumed).
    """
    policy = attested.enrollment.reprovision_policy
    if registration.assigned_hub not in (None, host_name):
        return Substatus.DEVICE_DATA_MIGRATED if policy.migrate_device_data else Substatus.DEVICE_DATA_RESET
    if is_new or not policy.update_hub_assignment or not api_version.tells_reprovisioned:
        return Substatus.INITIAL_ASSIGNMENT
    return Substatus.REPROVISIONED_TO_INITIAL_ASSIGNMENT
