"""What issuing yields: the chain a device gets, and the note of it that stays."""

import json
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from adr.authority import IssuingCa
from certs.pem import format_base64_der


@dataclass(frozen=True, slots=True)
class Requester:
    """Who has a certificate issued: the hub or DPS by its name, and the enrollment if that let the device in."""

    service: str = ""
    enrollment: str = ""


NOBODY: Final = Requester()


@dataclass(frozen=True, slots=True)
class IssuedChain:
    """An issued operational certificate with its issuers.

    `root` is what issued the issuing CA; None when its owner did not say.
    """

    leaf: x509.Certificate
    issuing_ca: x509.Certificate
    root: x509.Certificate | None

    @property
    def serial_number(self) -> str:
        """The leaf's serial number, in lower-case hex."""
        return f"{self.leaf.serial_number:x}"

    def base64_der(self) -> tuple[str, ...]:
        """Return the chain as devices get it: base64 of DER, leaf first, two or three of them.

        Source: concept-certificate-issuance.md; azure-sdk-for-c has room for three (documented).
        """
        issuers = (self.issuing_ca,) if self.root is None else (self.issuing_ca, self.root)
        return format_base64_der(self.leaf), *map(_format_issuer, issuers)


@lru_cache(maxsize=64)
def _format_issuer(certificate: x509.Certificate) -> str:
    # Nothing but a remembered value: the same CAs end every chain.
    return format_base64_der(certificate)


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """The note of one issued certificate; `serial_number` is lower-case hex, thumbprints are upper-case SHA-256.

    A certificate with this thumbprint is the very one that this issuer signed, with this device identifier in it.
    """

    device_id: str
    serial_number: str
    policy: str
    not_after: datetime
    thumbprint: str = ""
    issuer_thumbprint: str = ""
    identifier: UUID | None = None


@dataclass(frozen=True, slots=True)
class KnownCertificate:
    """A certificate that ADR issued itself, as its note tells it.

    `identifier` is the device identifier that it carries, None where the note is of an earlier hublet and does not say.
    """

    issuer: IssuingCa
    identifier: UUID | None


def thumbprint_of(certificate: x509.Certificate) -> str:
    """Return the SHA-256 thumbprint in upper-case hex."""
    return certificate.fingerprint(hashes.SHA256()).hex().upper()


def format_issued(issued: IssuedCertificate) -> str:
    """Write the note as the JSON text that is stored under `issued_key`."""
    return json.dumps(
        {
            "policy": issued.policy,
            "notAfter": issued.not_after.isoformat(),
            "thumbprint": issued.thumbprint,
            "issuer": issued.issuer_thumbprint,
            "identifier": None if issued.identifier is None else str(issued.identifier),
        }
    )


def parse_issued(key: str, text: str) -> IssuedCertificate:
    """Read a stored note."""
    _, device_id, serial_number = key.split("/")
    fields = json.loads(text)
    identifier = fields.get("identifier")
    return IssuedCertificate(
        device_id,
        serial_number,
        fields["policy"],
        datetime.fromisoformat(fields["notAfter"]),
        fields.get("thumbprint", ""),
        fields.get("issuer", ""),
        None if identifier is None else UUID(identifier),
    )


def issued_key(namespace: str, device_id: str, serial_number: str) -> str:
    """Return the key a note is stored under: a device's notes are one run of keys, as IDs have no slash."""
    return f"{namespace}/{device_id}/{serial_number}"
