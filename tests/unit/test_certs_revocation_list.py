from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from certs.authority import CertificateAuthority
from certs.extensions import extension_of
from certs.keys import KeyType
from certs.revocation_list import RevokedCertificate, issue_revocation_list

NOW = datetime(2026, 11, 23, 10, 0, 0, 5, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def issuer() -> CertificateAuthority:
    return CertificateAuthority.create_root("Issuer", NOW)


def test_list_is_signed_by_its_issuer_and_says_until_when_it_counts(issuer: CertificateAuthority) -> None:
    signed = issue_revocation_list(issuer, [], number=7, now=NOW, validity=DAY)
    assert signed.is_signature_valid(issuer.certificate.public_key())  # type: ignore[arg-type]
    assert signed.issuer == issuer.certificate.subject
    assert signed.last_update_utc == NOW.replace(microsecond=0)
    assert signed.next_update_utc == NOW.replace(microsecond=0) + DAY
    assert signed.signature_hash_algorithm is not None
    assert signed.signature_hash_algorithm.name == "sha384"
    assert len(signed) == 0


def test_extensions_are_number_and_key_identifier_and_neither_is_critical(issuer: CertificateAuthority) -> None:
    signed = issue_revocation_list(issuer, [], number=7, now=NOW, validity=DAY)
    found = {type(each.value): each for each in signed.extensions}
    assert set(found) == {x509.CRLNumber, x509.AuthorityKeyIdentifier}
    assert not any(each.critical for each in found.values())
    number, identifier = found[x509.CRLNumber].value, found[x509.AuthorityKeyIdentifier].value
    assert isinstance(number, x509.CRLNumber)
    assert isinstance(identifier, x509.AuthorityKeyIdentifier)
    own = extension_of(issuer.certificate, x509.SubjectKeyIdentifier)
    assert own is not None
    assert (number.crl_number, identifier.key_identifier) == (7, own.digest)


def test_entry_has_its_time_and_reason(issuer: CertificateAuthority) -> None:
    entry = RevokedCertificate(0xABC, NOW - DAY, x509.ReasonFlags.key_compromise)
    found = issue_revocation_list(issuer, [entry], number=1, now=NOW, validity=DAY)
    revoked = found.get_revoked_certificate_by_serial_number(0xABC)
    assert revoked is not None
    assert revoked.revocation_date_utc == (NOW - DAY).replace(microsecond=0)
    reason = revoked.extensions.get_extension_for_class(x509.CRLReason)
    assert (reason.value.reason, reason.critical) == (x509.ReasonFlags.key_compromise, False)
    assert found.get_revoked_certificate_by_serial_number(0xABD) is None


def test_unspecified_reason_is_left_out(issuer: CertificateAuthority) -> None:
    found = issue_revocation_list(issuer, [RevokedCertificate(1, NOW)], number=1, now=NOW, validity=DAY)
    (revoked,) = found
    assert len(revoked.extensions) == 0


@pytest.mark.parametrize(("key_type", "name"), [(KeyType.P256, "sha256"), (KeyType.P521, "sha512")])
def test_hash_is_as_strong_as_the_key(key_type: KeyType, name: str) -> None:
    issuer = CertificateAuthority.create_root("Issuer", NOW, key_type=key_type)
    signed = issue_revocation_list(issuer, [], number=1, now=NOW, validity=DAY)
    assert signed.signature_hash_algorithm is not None
    assert signed.signature_hash_algorithm.name == name
