"""The CA certificates uploaded to a DPS by name, and their proof of possession."""

import base64
import json
from dataclasses import dataclass, replace
from datetime import datetime

from cryptography import x509

from adr.store import Record, Store
from certs.possession import generate_verification_code, refuse_possession
from dps.attestation_mechanism import EnrolledCertificate
from dps.errors import BadRequest, CertificateNotFound


@dataclass(frozen=True, slots=True)
class CaCertificate:
    """An uploaded CA certificate; it anchors chains once it is verified."""

    name: str
    enrolled: EnrolledCertificate
    is_verified: bool = False
    verification_code: str | None = None


class CaCertificates:
    """The uploaded CA certificates of one DPS."""

    def __init__(self, store: Store, id_scope: str) -> None:
        self._store = store
        self._table = f"dps.{id_scope}.certificates"

    def put(self, name: str, enrolled: EnrolledCertificate, *, is_verified: bool = False) -> CaCertificate:
        """Upload a certificate, or replace the one with this name."""
        return self._write(CaCertificate(name, enrolled, is_verified))

    def get(self, name: str) -> CaCertificate:
        """Read a certificate.

        Raises:
            CertificateNotFound: none has this name.
        """
        record = self._store.get(self._table, name)
        if record is None:
            raise CertificateNotFound(f"this DPS has no CA certificate named {name!r}")
        return _parse(record)

    def list(self) -> list[CaCertificate]:
        """Read all certificates in the order of their names."""
        return [_parse(record) for record in self._store.list(self._table)]

    def delete(self, name: str) -> None:
        """Forget a certificate; groups that refer to it trust it no longer.

        Raises:
            CertificateNotFound: none has this name.
        """
        if not self._store.delete(self._table, name):
            raise CertificateNotFound(f"this DPS has no CA certificate named {name!r}")

    def generate_verification_code(self, name: str) -> str:
        """Make the code that the owner of the CA puts into the common name of a certificate it signs.

        Raises:
            CertificateNotFound: none has this name.

        Source: how-to-verify-certificates.md (documented).
        """
        code = generate_verification_code()
        self._write(replace(self.get(name), verification_code=code))
        return code

    def verify(self, name: str, verification_certificate: x509.Certificate, now: datetime) -> CaCertificate:
        """Take the proof of possession: a valid leaf of this CA whose common name is the verification code.

        Raises:
            BadRequest: no code was made, the common name is not the code, or the CA did not sign it.
            CertificateNotFound: none has this name.

        Source: how-to-verify-certificates.md (documented).
        """
        present = self.get(name)
        if present.verification_code is None:
            raise BadRequest(f"CA certificate {name!r} has no verification code yet")
        authority = present.enrolled.certificate
        refusal = refuse_possession(authority, present.verification_code, verification_certificate, now)
        if refusal is not None:
            raise BadRequest(f"possession of {name!r} is not proven: {refusal}")
        return self._write(replace(present, is_verified=True, verification_code=None))

    def _write(self, certificate: CaCertificate) -> CaCertificate:
        fields = {
            "certificate": base64.b64encode(certificate.enrolled.der).decode(),
            "isVerified": certificate.is_verified,
            "verificationCode": certificate.verification_code,
        }
        self._store.put(self._table, certificate.name, json.dumps(fields))
        return certificate


def _parse(record: Record) -> CaCertificate:
    fields = json.loads(record.value)
    enrolled = EnrolledCertificate(base64.b64decode(fields["certificate"]))
    return CaCertificate(record.key, enrolled, fields["isVerified"], fields["verificationCode"])
