"""The CA certificates registered on one hub: the trust anchors of devices that ADR did not issue for."""

import base64
import json
from dataclasses import dataclass, replace
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from adr.parsed import Parsed
from adr.store import Store
from certs.extensions import MalformedCertificate, extension_of
from certs.possession import generate_verification_code, refuse_possession
from hub.errors import ArgumentInvalid, CertificateNotFound, GenericForbidden

MAX_CERTIFICATES = 25


@dataclass(frozen=True, slots=True)
class HubCertificate:
    """A CA certificate by its name; it is a trust anchor once it is verified."""

    name: str
    certificate: x509.Certificate
    is_verified: bool = False
    verification_code: str | None = None


class HubCertificates:
    """CA certificates by name; only verified ones are trust anchors."""

    def __init__(self, store: Store, hub_name: str) -> None:
        self._store = store
        self._table = f"{hub_name}.certificates"
        self._parsed = Parsed(_parse)

    def add(self, name: str, certificate: x509.Certificate, *, verified: bool = True) -> HubCertificate:
        """Register a CA certificate, or replace the one with this name.

        Raises:
            ArgumentInvalid: it is not a CA certificate.
            GenericForbidden: the hub holds 25 already.

        Source: authenticate-authorize-x509.md (documented).
        """
        if not _is_authority(certificate):
            subject = certificate.subject.rfc4514_string()
            raise ArgumentInvalid(
                f"certificate {name!r} ({subject}) is not a CA certificate: no basicConstraints CA:TRUE"
            )
        if self._store.get(self._table, name) is None and len(self.names()) >= MAX_CERTIFICATES:
            raise GenericForbidden(f"the hub holds {MAX_CERTIFICATES} CA certificates; {name!r} is one more")
        return self._write(HubCertificate(name, certificate, is_verified=verified))

    def get(self, name: str) -> HubCertificate:
        """Read a certificate.

        Raises:
            CertificateNotFound: none has this name.
        """
        record = self._store.get(self._table, name)
        if record is None:
            raise CertificateNotFound(f"the hub has no CA certificate {name!r}")
        return self._parsed.of(record)

    def generate_verification_code(self, name: str) -> str:
        """Make the code that the owner of the CA puts into the common name of a certificate it signs.

        Raises:
            CertificateNotFound: none has this name.
        """
        code = generate_verification_code()
        self._write(replace(self.get(name), verification_code=code))
        return code

    def verify(self, name: str, proof: x509.Certificate, now: datetime) -> HubCertificate:
        """Take the proof of possession: a valid leaf of this CA whose common name is the verification code.

        Raises:
            ArgumentInvalid: no code was made, the common name is not the code, or the CA did not sign it.
            CertificateNotFound: none has this name.
        """
        present = self.get(name)
        if present.verification_code is None:
            raise ArgumentInvalid(f"CA certificate {name!r} has no verification code yet")
        refusal = refuse_possession(present.certificate, present.verification_code, proof, now)
        if refusal is not None:
            raise ArgumentInvalid(f"possession of {name!r} is not proven: {refusal}")
        return self._write(replace(present, is_verified=True, verification_code=None))

    def remove(self, name: str) -> None:
        """Forget a CA certificate.

        Raises:
            CertificateNotFound: none has this name.
        """
        if not self._store.delete(self._table, name):
            raise CertificateNotFound(f"the hub has no CA certificate {name!r}")

    def names(self) -> list[str]:
        """Name the registered certificates, verified or not."""
        return [record.key for record in self._store.list(self._table)]

    def list(self) -> list[HubCertificate]:
        """Read all certificates in the order of their names."""
        return [self._parsed.of(record) for record in self._store.list(self._table)]

    def anchors(self) -> tuple[x509.Certificate, ...]:
        """The verified CA certificates, in the order of their names."""
        return tuple(each.certificate for each in self.list() if each.is_verified)

    def _write(self, certificate: HubCertificate) -> HubCertificate:
        fields = {
            "certificate": base64.b64encode(certificate.certificate.public_bytes(Encoding.DER)).decode(),
            "verified": certificate.is_verified,
            "verificationCode": certificate.verification_code,
        }
        self._store.put(self._table, certificate.name, json.dumps(fields))
        return certificate


def _parse(name: str, text: str) -> HubCertificate:
    fields = json.loads(text)
    certificate = x509.load_der_x509_certificate(base64.b64decode(fields["certificate"]))
    return HubCertificate(name, certificate, fields["verified"], fields.get("verificationCode"))


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        constraints = extension_of(certificate, x509.BasicConstraints)
    except MalformedCertificate:
        return False
    return constraints is not None and constraints.ca
