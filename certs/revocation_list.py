"""Certificate revocation lists (RFC 5280 §5): what a CA says of certificates it no longer stands by."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

from certs.authority import CertificateAuthority
from certs.keys import signature_hash


@dataclass(frozen=True, slots=True)
class RevokedCertificate:
    """One entry of a list; a reason `unspecified` is left out, as RFC 5280 §5.3.1 wants it."""

    serial_number: int
    revoked_at: datetime
    reason: x509.ReasonFlags = x509.ReasonFlags.unspecified


def issue_revocation_list(
    issuer: CertificateAuthority,
    revoked: Iterable[RevokedCertificate],
    *,
    number: int,
    now: datetime,
    validity: timedelta,
) -> x509.CertificateRevocationList:
    """Sign a complete list: `thisUpdate` is now, `nextUpdate` after `validity`, with CRL number and key identifier.

    `number` rises with each list of the same CA.
    """
    this_update = now.replace(microsecond=0)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(this_update)
        .next_update(this_update + validity)
        .add_extension(issuer.authority_key_identifier, critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for entry in revoked:
        builder = builder.add_revoked_certificate(_entry(entry))
    return builder.sign(issuer.key, signature_hash(issuer.key))


def _entry(revoked: RevokedCertificate) -> x509.RevokedCertificate:
    builder = (
        x509.RevokedCertificateBuilder()
        .serial_number(revoked.serial_number)
        .revocation_date(revoked.revoked_at.replace(microsecond=0))
    )
    if revoked.reason is not x509.ReasonFlags.unspecified:
        builder = builder.add_extension(x509.CRLReason(revoked.reason), critical=False)
    return builder.build()
