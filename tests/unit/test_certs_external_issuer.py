from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.authority import CertificateAuthority
from certs.external_issuer import (
    MAX_CHAIN,
    SignedCaError,
    SignedCaReason,
    check_signed_ca,
    request_ca_certificate,
)
from certs.keys import KeyType, generate_key
from certs.profiles import ONBOARDING_ROOT

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)
KEY = generate_key(KeyType.P384)
REQUEST = request_ca_certificate("works own ICA", KEY)
OWNER = CertificateAuthority.create_root("Own Root", NOW, profile=ONBOARDING_ROOT)


def usage(*, signature: bool = True, certificates: bool = True, lists: bool = True) -> x509.KeyUsage:
    return x509.KeyUsage(signature, False, False, False, False, certificates, lists, False, False)


def client_usage(*purposes: x509.ObjectIdentifier) -> x509.ExtendedKeyUsage:
    return x509.ExtendedKeyUsage(purposes)


CA_WITH_ONE_BELOW = x509.BasicConstraints(ca=True, path_length=1)
CA_USAGE = usage()
SHA384 = hashes.SHA384()


def signed(
    *,
    owner: CertificateAuthority = OWNER,
    key: Any = None,
    subject: x509.Name = REQUEST.subject,
    constraints: x509.BasicConstraints | None = CA_WITH_ONE_BELOW,
    critical: bool = True,
    key_usage: x509.KeyUsage | None = CA_USAGE,
    purposes: x509.ExtendedKeyUsage | None = None,
    identifier: bool = True,
    period: tuple[timedelta, timedelta] = (-DAY, 366 * DAY),
    algorithm: Any = SHA384,
) -> x509.Certificate:
    """What an owner's CA makes of the request, right but for what is named."""
    public = key or REQUEST.public_key()
    builder = x509.CertificateBuilder(
        issuer_name=owner.certificate.subject, subject_name=subject, public_key=public, serial_number=7,
        not_valid_before=NOW + period[0], not_valid_after=NOW + period[1],
    )  # fmt: skip
    if constraints is not None:
        builder = builder.add_extension(constraints, critical)
    if key_usage is not None:
        builder = builder.add_extension(key_usage, critical=True)
    if purposes is not None:
        builder = builder.add_extension(purposes, critical=False)
    if identifier:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    return builder.sign(owner.key, algorithm)


def refusal(*chain: x509.Certificate) -> SignedCaError:
    with pytest.raises(SignedCaError) as refused:
        check_signed_ca(REQUEST, chain, NOW)
    return refused.value


def test_request_is_signed_by_its_key_and_asks_for_a_ca_with_path_length_1() -> None:
    assert REQUEST.is_signature_valid
    assert REQUEST.subject == x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "works own ICA")])
    constraints = REQUEST.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.value, constraints.critical) == (x509.BasicConstraints(ca=True, path_length=1), True)
    assert REQUEST.extensions.get_extension_for_class(x509.KeyUsage).value == usage()


@pytest.mark.parametrize("purposes", [None, client_usage(ExtendedKeyUsageOID.CLIENT_AUTH)])
@pytest.mark.parametrize("algorithm", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
@pytest.mark.parametrize("issuers", [(), (OWNER.certificate,)], ids=["alone", "with its root"])
def test_certificate_by_the_rules_is_accepted(purposes: Any, algorithm: Any, issuers: tuple[Any, ...]) -> None:
    check_signed_ca(REQUEST, (signed(purposes=purposes, algorithm=algorithm), *issuers), NOW)


def test_chain_over_an_intermediate_is_accepted() -> None:
    middle = OWNER.issue_intermediate("Middle", NOW, validity=1000 * DAY, profile=ONBOARDING_ROOT)
    check_signed_ca(REQUEST, (signed(owner=middle), middle.certificate, OWNER.certificate), NOW)


Make = Callable[[], x509.Certificate]
RSA_OWNER = CertificateAuthority.create_root("RSA Root", NOW, key_type=KeyType.RSA2048, profile=ONBOARDING_ROOT)
OTHER_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "another")])
REFUSED: dict[str, tuple[Make, SignedCaReason, str]] = {
    "another key": (
        lambda: signed(key=generate_key(KeyType.P384).public_key()),
        SignedCaReason.KEY,
        "another key than the CSR",
    ),
    "RSA key": (
        lambda: signed(key=rsa.generate_private_key(65537, 2048).public_key()),
        SignedCaReason.KEY,
        "must be EC on P-256, P-384 or P-521",
    ),
    "another curve": (
        lambda: signed(key=ec.generate_private_key(ec.SECP256K1()).public_key()),
        SignedCaReason.KEY,
        "key is secp256k1",
    ),
    "another subject": (
        lambda: signed(subject=OTHER_NAME),
        SignedCaReason.SUBJECT,
        "subject is 'CN=another': it must be the CSR's, 'CN=works own ICA'",
    ),
    "RSA signature": (
        lambda: signed(owner=RSA_OWNER, algorithm=hashes.SHA256()),
        SignedCaReason.SIGNATURE,
        "must be ECDSA with SHA-256",
    ),
    "SHA-224": (lambda: signed(algorithm=hashes.SHA224()), SignedCaReason.SIGNATURE, "1.2.840.10045.4.3.1"),
    "no basic constraints": (
        lambda: signed(constraints=None),
        SignedCaReason.BASIC_CONSTRAINTS,
        "basicConstraints is absent",
    ),
    "no CA": (
        lambda: signed(constraints=x509.BasicConstraints(ca=False, path_length=None)),
        SignedCaReason.BASIC_CONSTRAINTS,
        "must be critical, CA:TRUE, pathlen:1",
    ),
    "path length 0": (
        lambda: signed(constraints=x509.BasicConstraints(ca=True, path_length=0)),
        SignedCaReason.BASIC_CONSTRAINTS,
        "path_length=0",
    ),
    "no path length": (
        lambda: signed(constraints=x509.BasicConstraints(ca=True, path_length=None)),
        SignedCaReason.BASIC_CONSTRAINTS,
        "path_length=None",
    ),
    "not critical": (lambda: signed(critical=False), SignedCaReason.BASIC_CONSTRAINTS, "critical False"),
    "no key usage": (
        lambda: signed(key_usage=None),
        SignedCaReason.KEY_USAGE,
        "lacks digitalSignature, keyCertSign, cRLSign",
    ),
    "no digitalSignature": (
        lambda: signed(key_usage=usage(signature=False)),
        SignedCaReason.KEY_USAGE,
        "lacks digitalSignature:",
    ),
    "no keyCertSign": (
        lambda: signed(key_usage=usage(certificates=False)),
        SignedCaReason.KEY_USAGE,
        "lacks keyCertSign:",
    ),
    "no cRLSign": (lambda: signed(key_usage=usage(lists=False)), SignedCaReason.KEY_USAGE, "lacks cRLSign:"),
    "no clientAuth": (
        lambda: signed(purposes=client_usage(ExtendedKeyUsageOID.SERVER_AUTH)),
        SignedCaReason.EXTENDED_KEY_USAGE,
        "without clientAuth",
    ),
    "no key identifier": (
        lambda: signed(identifier=False),
        SignedCaReason.SUBJECT_KEY_IDENTIFIER,
        "subjectKeyIdentifier is absent",
    ),
    "364 days left": (
        lambda: signed(period=(-DAY, 364 * DAY)),
        SignedCaReason.VALIDITY,
        "364 days from now: at least 365 must be left",
    ),
    "not valid yet": (lambda: signed(period=(DAY, 500 * DAY)), SignedCaReason.VALIDITY, "not valid before"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_certificate_that_breaks_a_rule_is_refused_with_the_rule(case: str) -> None:
    make, reason, words = REFUSED[case]
    refused = refusal(make())
    assert refused.reason is reason
    assert words in str(refused)


def test_exactly_365_days_are_enough() -> None:
    check_signed_ca(REQUEST, (signed(period=(-DAY, 365 * DAY)),), NOW)


def test_chain_in_another_order_is_refused() -> None:
    other = CertificateAuthority.create_root("Other Root", NOW, profile=ONBOARDING_ROOT)
    refused = refusal(signed(), other.certificate)
    assert refused.reason is SignedCaReason.CHAIN
    assert "'CN=works own ICA' of the chain was not issued by 'CN=Other Root', which follows it" in str(refused)
    assert refusal(OWNER.certificate, signed()).reason is SignedCaReason.KEY


def test_chain_without_or_with_too_many_certificates_is_refused() -> None:
    for count in (0, MAX_CHAIN + 1):
        assert f"the chain has {count} certificates" in str(refusal(*[signed()] * count))


def test_issuer_that_is_no_ca_or_has_expired_is_refused() -> None:
    leaf = OWNER.issue_onboarding("Leaf", KEY.public_key(), NOW, validity=1000 * DAY)
    no_ca = CertificateAuthority(leaf, KEY)
    assert "'CN=Leaf' of the chain is not a CA" in str(refusal(signed(owner=no_ca), leaf))
    old = CertificateAuthority.create_root("Old", NOW - 10 * DAY, validity=DAY, profile=ONBOARDING_ROOT)
    assert "'CN=Old' of the chain is valid from" in str(refusal(signed(owner=old), old.certificate))


def altered(certificate: x509.Certificate, old: bytes, new: bytes) -> x509.Certificate:
    der = certificate.public_bytes(Encoding.DER)
    assert old in der
    return x509.load_der_x509_certificate(der.replace(old, new))


def test_key_on_an_unknown_curve_is_refused() -> None:
    certificate = signed(key=ec.generate_private_key(ec.SECP256K1()).public_key())
    refused = refusal(altered(certificate, bytes.fromhex("06052b8104000a"), bytes.fromhex("06052b8104007f")))
    assert refused.reason is SignedCaReason.KEY
    assert "cannot be read" in str(refused)


# What `openssl x509 -req` makes without an extension file: version 1.
VERSION_1 = (
    "MIIBFDCBuwIUXJyQ3gmIvGu2ofpGeHdItt87lIgwCgYIKoZIzj0EAwIwDTELMAkGA1UEAwwCdjEwHhcNMjYxMTIzMTY1MDA1WhcN"
    "MzcxMTA1MTY1MDA1WjANMQswCQYDVQQDDAJ2MTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABFHXZcd45c/Lz+yLPXVepL9rL8/e"
    "rDiJfnxnGbMSnkLpDItGSxpSty+4C0bxy2dP56mfdGN2aKiDKu/EEwQrOwUwCgYIKoZIzj0EAwIDSAAwRQIgcvj5Mfsw5wmGvE0G"
    "cf3kPau1rv+fL0RQi1oM599m9uQCIQDvKc3mrxX6OjKArd+GKXtHK3JRGFyasToA5USmQrxByw=="
)


def test_version_1_is_refused() -> None:
    refused = refusal(x509.load_der_x509_certificate(b64decode(VERSION_1)))
    assert refused.reason is SignedCaReason.VERSION
    assert "version 1: it must be 3" in str(refused)


def test_malformed_extensions_are_refused() -> None:
    """CA:TRUE with the path length as a boolean."""
    certificate = signed()
    refused = refusal(altered(certificate, bytes.fromhex("30060101ff020101"), bytes.fromhex("30060101ff010101")))
    assert refused.reason is SignedCaReason.CHAIN
    assert "malformed" in str(refused)
