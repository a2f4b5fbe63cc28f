"""The CA certificates that people upload to hubs and DPS, and the proof that they possess them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs.extensions import MalformedCertificate, extension_of, serial_number_of
from certs.pem import parse_pem_certificates
from dps.attestation_mechanism import EnrolledCertificate
from dps.ca_certificates import CaCertificate
from dps.errors import BadRequest, DpsError
from dps.service import ProvisioningService
from emulator.bootstrap import Resources
from hub.certificates import HubCertificate
from hub.errors import HubError
from hub.hub import Hub

MAX_NAME_CHARACTERS = 64


class UploadRefused(ValueError):
    """The upload, or the proof, breaks a rule."""


class ServiceNotFound(UploadRefused):
    """There is no hub and no DPS of this name."""


class UploadedCas:
    """CA certificates of every hub and DPS by the service's name and their own."""

    def __init__(self, resources: Resources) -> None:
        self._hubs: Mapping[str, Hub] = {hub.settings.name: hub for hub in resources.hubs}
        self._services: Mapping[str, ProvisioningService] = {each.settings.name: each for each in resources.dps}

    def list(self) -> list[dict[str, Any]]:
        """Describe all of them."""
        found = [_describe(name, each) for name, hub in self._hubs.items() for each in hub.certificates.list()]
        for name, service in self._services.items():
            found += [_describe(name, each) for each in service.enrollments.ca_certificates.list()]
        return found

    def add(self, service: str, name: str, pem: str, *, is_verified: bool) -> dict[str, Any]:
        """Upload a CA certificate; unless it counts as verified already, its description has a verification code.

        Raises:
            UploadRefused: there is no such service, or what is uploaded is not one CA certificate.
        """
        if not 1 <= len(name) <= MAX_NAME_CHARACTERS or "/" in name:
            raise UploadRefused(f"the name {name[:80]!r} does not have 1 to {MAX_NAME_CHARACTERS} characters without /")
        certificate = _parse(pem)
        try:
            if service in self._hubs:
                hub_certificates = self._hubs[service].certificates
                hub_certificates.add(name, certificate, verified=is_verified)
                if not is_verified:
                    hub_certificates.generate_verification_code(name)
                return _describe(service, hub_certificates.get(name))
            certificates = self._service(service).enrollments.ca_certificates
            _require_authority(certificate)
            certificates.put(name, EnrolledCertificate(certificate.public_bytes(Encoding.DER)), is_verified=is_verified)
            if not is_verified:
                certificates.generate_verification_code(name)
            return _describe(service, certificates.get(name))
        except (DpsError, HubError) as error:
            raise UploadRefused(str(error)) from error

    def verify(self, service: str, name: str, pem: str, now: datetime) -> dict[str, Any]:
        """Take the certificate that proves possession: signed by the CA, its common name the verification code.

        Raises:
            UploadRefused: there is no such service or CA, or it proves nothing.
        """
        proof = _parse(pem)
        try:
            if service in self._hubs:
                return _describe(service, self._hubs[service].certificates.verify(name, proof, now))
            return _describe(service, self._service(service).enrollments.ca_certificates.verify(name, proof, now))
        except (DpsError, HubError) as error:
            raise UploadRefused(str(error)) from error

    def remove(self, service: str, name: str) -> None:
        """Forget a CA certificate.

        Raises:
            UploadRefused: there is no such service or CA.
        """
        try:
            if service in self._hubs:
                self._hubs[service].certificates.remove(name)
            else:
                self._service(service).enrollments.ca_certificates.delete(name)
        except (DpsError, HubError) as error:
            raise UploadRefused(str(error)) from error

    def _service(self, name: str) -> ProvisioningService:
        if name not in self._services:
            known = ", ".join([*self._hubs, *self._services])
            raise ServiceNotFound(f"there is no hub and no DPS {name[:64]!r}; known: {known}")
        return self._services[name]


def _parse(pem: str) -> x509.Certificate:
    try:
        certificates = parse_pem_certificates(pem)
    except (ValueError, x509.InvalidVersion) as error:
        raise UploadRefused("this is not a certificate in PEM") from error
    if len(certificates) != 1:
        raise UploadRefused(f"one certificate is wanted, these are {len(certificates)}")
    return certificates[0]


def _require_authority(certificate: x509.Certificate) -> None:
    try:
        constraints = extension_of(certificate, x509.BasicConstraints)
    except MalformedCertificate:
        constraints = None
    if constraints is None or not constraints.ca:
        raise BadRequest("this is not a CA certificate: it has no basicConstraints CA:TRUE")


def _describe(service: str, uploaded: CaCertificate | HubCertificate) -> dict[str, Any]:
    certificate = uploaded.enrolled.certificate if isinstance(uploaded, CaCertificate) else uploaded.certificate
    described = {
        "service": service,
        "name": uploaded.name,
        "subject": certificate.subject.rfc4514_string(),
        "serialNumber": f"{serial_number_of(certificate):x}",
        "notAfter": certificate.not_valid_after_utc.isoformat().replace("+00:00", "Z"),
        "isVerified": uploaded.is_verified,
        "verificationCode": uploaded.verification_code,
    }
    return {name: value for name, value in described.items() if value is not None}
