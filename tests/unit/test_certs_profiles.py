"""Every profile against its table: the extensions, their values and their criticality, and none besides."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.authority import CertificateAuthority
from certs.keys import KeyType, generate_key
from certs.profiles import (
    ONBOARDING_INTERMEDIATE,
    ONBOARDING_ROOT,
    PROFILES,
    SERVER_CA,
    host_alternative_names,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "certs_profiles.json").read_text())
NOW = datetime(2026, 11, 23, 12, 30, 15, 999_999, tzinfo=UTC)
MONTH = timedelta(days=30)
EC_KEY, RSA_KEY = generate_key(KeyType.P256).public_key(), generate_key(KeyType.RSA2048).public_key()
HOSTS = ["localhost", "hub2.localhost", "127.0.0.1", "::1"]
USAGES = {
    "digitalSignature": "digital_signature",
    "nonRepudiation": "content_commitment",
    "keyEncipherment": "key_encipherment",
    "dataEncipherment": "data_encipherment",
    "keyAgreement": "key_agreement",
    "keyCertSign": "key_cert_sign",
    "cRLSign": "crl_sign",
}
PURPOSES = {ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth", ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth"}
SIGNATURES = {"1.2.840.10045.4.3.2": "ecdsa-with-SHA256", "1.2.840.10045.4.3.3": "ecdsa-with-SHA384"}


@pytest.fixture(scope="module")
def certificates() -> dict[str, tuple[x509.Certificate, x509.Certificate | None]]:
    """One certificate of each profile, with its issuer."""
    root = CertificateAuthority.create_root("credential", NOW)
    ica = root.issue_intermediate(
        "default",
        NOW,
        crl_url="http://127.0.0.1:8080/crl/factory.1.crl",
        issuer_url="http://127.0.0.1:8080/ca/factory.1.cer",
    )
    p256 = KeyType.P256
    factory = CertificateAuthority.create_root("factory", NOW, key_type=p256, profile=ONBOARDING_ROOT)
    line = factory.issue_intermediate("line", NOW, key_type=p256, profile=ONBOARDING_INTERMEDIATE)
    server = CertificateAuthority.create_root("server", NOW, key_type=p256, profile=SERVER_CA)
    operational = ica.issue_operational(
        "sensor-001",
        EC_KEY,
        UUID("b1e02da8-1111-4222-8333-000000000001"),
        NOW,
        validity=MONTH,
        crl_url="http://127.0.0.1:8080/crl/factory/default.crl",
        issuer_url="http://127.0.0.1:8080/ca/factory/default.cer",
    )
    onboarding = line.issue_onboarding("sensor-001", EC_KEY, NOW, validity=MONTH)
    return {
        "root CA": (root.certificate, None),
        "issuing CA": (ica.certificate, root.certificate),
        "operational leaf": (operational, ica.certificate),
        "onboarding root": (factory.certificate, None),
        "onboarding intermediate": (line.certificate, factory.certificate),
        "onboarding leaf": (onboarding, line.certificate),
        "server CA": (server.certificate, None),
        "server leaf": (server.issue_server(HOSTS, EC_KEY, NOW, validity=MONTH), server.certificate),
        "server leaf with an RSA key": (
            server.issue_server(HOSTS, RSA_KEY, NOW, validity=MONTH),
            server.certificate,
        ),
    }


def key_digest(certificate: x509.Certificate) -> bytes:
    """SHA-1 of the subject public key's bits: RFC 5280 §4.2.1.2 method 1."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return hashlib.sha1(key.public_bytes(Encoding.DER, PublicFormat.PKCS1)).digest()
    return hashlib.sha1(key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)).digest()


def in_words(value: x509.ExtensionType, certificate: x509.Certificate, issuer: x509.Certificate | None) -> str:
    match value:
        case x509.BasicConstraints():
            length = "" if value.path_length is None else f", pathlen:{value.path_length}"
            return f"CA:{str(value.ca).upper()}{length}"
        case x509.KeyUsage():
            return ", ".join(word for word, attribute in USAGES.items() if getattr(value, attribute))
        case x509.ExtendedKeyUsage():
            return ", ".join(PURPOSES[purpose] for purpose in value)
        case x509.SubjectKeyIdentifier():
            assert value.digest == key_digest(certificate)
            return "SHA-1 of the key"
        case x509.AuthorityKeyIdentifier():
            identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            assert value == x509.AuthorityKeyIdentifier(identifier.digest, None, None)
            return "the issuer's key identifier"
        case x509.SubjectAlternativeName():
            return ", ".join(map(name_in_words, value))
        case x509.CRLDistributionPoints():
            (point,) = value
            assert (point.reasons, point.crl_issuer, point.relative_name) == (None, None, None)
            return ", ".join(map(name_in_words, point.full_name))
        case x509.AuthorityInformationAccess():
            (description,) = value
            assert description.access_method._name == "caIssuers"
            return f"caIssuers {name_in_words(description.access_location)}"
    raise AssertionError(value)


def name_in_words(name: x509.GeneralName) -> str:
    kinds = {x509.DNSName: "DNS", x509.IPAddress: "IP", x509.UniformResourceIdentifier: "URI"}
    return f"{kinds[type(name)]}:{name.value}"


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
def test_profile_has_these_extensions_and_no_others(vector, certificates):
    certificate, issuer = certificates[vector["id"]]
    found = {
        extension.oid._name: {
            "critical": extension.critical,
            "value": in_words(extension.value, certificate, issuer),
        }
        for extension in certificate.extensions
    }
    assert found == vector["expect"]["extensions"]
    assert SIGNATURES[certificate.signature_algorithm_oid.dotted_string] == vector["expect"]["signature"]
    assert certificate.version is x509.Version.v3


def test_every_profile_has_a_vector():
    assert {profile.name for profile in PROFILES} <= {vector["id"] for vector in VECTORS}


def test_host_names_and_addresses_are_told_apart():
    names = host_alternative_names(["10.0.0.1", "10.0.0.1.example", "fe80::1", "1.2.3"])
    kinds = [type(name) for name in names]
    assert kinds == [x509.IPAddress, x509.DNSName, x509.IPAddress, x509.DNSName]


def test_host_name_beyond_ascii_is_refused():
    with pytest.raises(ValueError, match="DNSName"):
        host_alternative_names(["hüb.localhost"])
