"""Proof of possession: the owner of a CA signs a certificate whose common name is a code that we made."""

import secrets
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import NameOID

from certs.extensions import MalformedCertificate, subject_of
from certs.path import issued_by, outside_validity


def generate_verification_code() -> str:
    """Make a code, 48 upper-case hex digits.

    Source: how-to-verify-certificates.md (documented).
    """
    return secrets.token_hex(24).upper()


def refuse_possession(
    authority: x509.Certificate, verification_code: str, proof: x509.Certificate, now: datetime
) -> str | None:
    """Say why a certificate does not prove that its sender has the CA's private key; None when it does.

    It must have the verification code as its only common name, and be valid now and signed by the CA itself. Nothing
    else of it counts: `openssl x509 -req`, which the documentation has people use, makes version 1 certificates.

    Source: how-to-verify-certificates.md (documented); that version 1 is taken is assumed.
    """
    try:
        subject = subject_of(proof)
        invalid = outside_validity(proof, now) or outside_validity(authority, now)
    except MalformedCertificate as error:
        return f"the verification certificate is malformed: {error}"
    names = [attribute.value for attribute in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names != [verification_code]:
        return "the verification certificate's common name is not the verification code"
    if not issued_by(proof, authority):
        return "the verification certificate is not signed with the key of the CA"
    return invalid.detail if invalid is not None else None
