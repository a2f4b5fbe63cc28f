"""Brings the enrollments of one DPS to what the configuration declares."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from adr.store import Store, each_record
from dps.attestation_mechanism import (
    Attestation,
    EnrolledCertificate,
    SymmetricKeyAttestation,
    X509CaReferences,
    X509ClientCertificates,
    X509SigningCertificates,
    generate_key,
)
from dps.enrollment import Enrollment, EnrollmentGroup, IndividualEnrollment
from dps.enrollment_format import format_enrollment
from dps.enrollments import AnyEnrollment, EnrollmentTable
from dps.errors import DpsError
from dps.service import ProvisioningService
from emulator.config_error import ConfigError, Problem
from emulator.config_sections import DpsSection, EnrollmentSection, GroupSection, IndividualSection, SymmetricKeySection
from emulator.config_values import DEV_CA
from emulator.development_ca import DevelopmentCa

logger = logging.getLogger("emulator")

TABLE = "emulator.declarations"
GROUPS = "enrollment_groups"
INDIVIDUALS = "individual_enrollments"


class DeclaredEnrollments:
    """The declared enrollments of one DPS.

    Beside each lies a fingerprint of the declaration it was last written from. It is written when it is missing or
    its declaration has changed, so that what the service API did to it lasts; it goes when its declaration goes.
    What nobody declared is left alone.

    Args:
        store: where the fingerprints are.
        service: the DPS.
        dev_ca: what `ca: dev-ca` stands for.
        host_names: of the hubs, by their names.
    """

    def __init__(
        self, store: Store, service: ProvisioningService, dev_ca: DevelopmentCa, host_names: Mapping[str, str]
    ) -> None:
        self._store = store
        self._service = service
        self._dev_ca = dev_ca
        self._host_names = host_names
        self._prefix = f"{service.settings.id_scope}/"

    def apply(self, section: DpsSection, now: datetime) -> None:
        """Remove, create and update enrollments.

        Raises:
            ConfigError: an enrollment that was made by other means is in the way.
        """
        groups, individuals = section.enrollment_groups, section.individual_enrollments
        declared = {self._key(GROUPS, name) for name in groups} | {self._key(INDIVIDUALS, name) for name in individuals}
        self._remove_all_but(declared)
        for name, group in groups.items():
            self._write(self._service.enrollments.groups, GROUPS, self._group(name, group), now)
        for name, individual in individuals.items():
            self._write(self._service.enrollments.individuals, INDIVIDUALS, self._individual(name, individual), now)

    def _remove_all_but(self, declared: set[str]) -> None:
        for record in list(each_record(self._store, TABLE, self._prefix)):
            if record.key in declared:
                continue
            _, kind, name = record.key.split("/")
            enrollments = self._service.enrollments
            table: EnrollmentTable[EnrollmentGroup] | EnrollmentTable[IndividualEnrollment] = (
                enrollments.groups if kind == GROUPS else enrollments.individuals
            )
            if table.find(name) is not None:
                table.delete(name)
            self._store.delete(TABLE, record.key)
            logger.info("%s: removed, it is no longer declared", self._place(kind, name))

    def _write(self, table: EnrollmentTable[AnyEnrollment], kind: str, declared: AnyEnrollment, now: datetime) -> None:
        key, fingerprint = self._key(kind, declared.name), _fingerprint(declared)
        present, written = table.find(declared.name), self._store.get(TABLE, key)
        if present is not None and written is not None and written.value == fingerprint:
            return
        place = self._place(kind, declared.name)
        attestation = _complete(declared.attestation, present.attestation if present else None)
        try:
            table.put(replace(declared, attestation=attestation), now)
        except DpsError as error:
            raise ConfigError("the configuration", [Problem((place,), str(error))]) from error
        self._store.put(TABLE, key, fingerprint)
        logger.info("%s: %s", place, "created" if present is None else "updated")

    def _group(self, name: str, section: GroupSection) -> EnrollmentGroup:
        return self._with_terms(
            EnrollmentGroup(enrollment_group_id=name, attestation=self._group_attestation(section)), section
        )

    def _individual(self, name: str, section: IndividualSection) -> IndividualEnrollment:
        attestation: Attestation
        if section.certificate is not None:
            attestation = X509ClientCertificates(*_enrolled(section.certificate.certificates))
        else:
            attestation = _declared_keys(section.symmetric_key)
        enrollment = IndividualEnrollment(registration_id=name, attestation=attestation, device_id=section.device_id)
        return self._with_terms(enrollment, section)

    def _group_attestation(self, section: GroupSection) -> Attestation:
        if section.ca_references:
            return X509CaReferences(*section.ca_references)
        if section.ca is None:
            return _declared_keys(section.symmetric_key)
        if section.ca == DEV_CA:
            # The intermediate is found one step earlier than the root, which stays for when it is renewed.
            return X509SigningCertificates(
                *_enrolled((self._dev_ca.intermediate.certificate, self._dev_ca.root)),
            )
        return X509SigningCertificates(*_enrolled(section.ca.certificates))

    def _with_terms(self, enrollment: AnyEnrollment, section: EnrollmentSection) -> AnyEnrollment:
        return replace(
            enrollment,
            provisioning_status=section.provisioning_status,
            allocation_policy=section.allocation,
            iot_hubs=tuple(self._host_names[hub] for hub in section.hubs),
            reprovision_policy=section.reprovision.policy,
            credential_policy_name=section.credential_policy,
            initial_twin=section.initial_twin,
        )

    def _key(self, kind: str, name: str) -> str:
        return f"{self._prefix}{kind}/{name.lower()}"

    def _place(self, kind: str, name: str) -> str:
        return f"dps.{self._service.settings.name}.{kind}.{name}"


def _declared_keys(section: SymmetricKeySection | None) -> SymmetricKeyAttestation:
    """Take the keys as declared; an empty one is to be generated."""
    assert section is not None, "an enrollment without certificate has a symmetric key"
    return SymmetricKeyAttestation(section.primary or "", section.secondary or "")


def _complete(declared: Attestation, present: Attestation | None) -> Attestation:
    """Fill in keys that are not declared: those the enrollment has, or new ones."""
    if not isinstance(declared, SymmetricKeyAttestation):
        return declared
    known = present if isinstance(present, SymmetricKeyAttestation) else SymmetricKeyAttestation("", "")
    return SymmetricKeyAttestation(
        declared.primary_key or known.primary_key or generate_key(),
        declared.secondary_key or known.secondary_key or generate_key(),
    )


def _enrolled(certificates: tuple[x509.Certificate, ...]) -> list[EnrolledCertificate]:
    return [EnrolledCertificate(certificate.public_bytes(Encoding.DER)) for certificate in certificates]


def _fingerprint(declared: Enrollment) -> str:
    """Return a digest of the declaration as a JSON text; it holds declared keys, so the text itself is not kept."""
    text = json.dumps(format_enrollment(declared), sort_keys=True)
    return json.dumps(hashlib.sha256(text.encode()).hexdigest())
