"""Every certificate profile under pkilint, a linter that shares no code with us."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pkilint import loader
from pkilint.pkix import certificate, extension, name
from pkilint.validation import ValidationFindingSeverity, ValidatorContainer

from certs.authority import CertificateAuthority
from certs.keys import KeyType, generate_key, signature_hash
from certs.profiles import ONBOARDING_INTERMEDIATE, ONBOARDING_ROOT, SERVER_CA

NOW = datetime(2026, 11, 23, 12, 30, 15, tzinfo=UTC)
MONTH = timedelta(days=30)
HOSTS = ["localhost", "hub2.localhost", "127.0.0.1", "::1"]
# Findings we accept: {kind of certificate: {code: why}}.
ACCEPTED = {
    "operational leaf": {
        "pkix.invalid_uri_syntax": "`urn:uuid:…` is a URI with scheme and scheme-specific part (RFC 9562 §4), as"
        " RFC 5280 §4.2.1.6 asks; pkilint knows URIs with an authority only",
    },
    "server leaf": {
        "pkix.invalid_domain_name_syntax": "`localhost` has one label; clients of an emulator connect to it",
    },
}


def every_profile() -> dict[str, x509.Certificate]:
    root = CertificateAuthority.create_root("hublet factory root", NOW)
    urls = {"crl_url": "http://127.0.0.1:8080/crl/f.crl", "issuer_url": "http://127.0.0.1:8080/ca/f.cer"}
    ica = root.issue_intermediate("hublet factory default", NOW, **urls)
    onboarding_root = CertificateAuthority.create_root("development root", NOW, profile=ONBOARDING_ROOT)
    onboarding = onboarding_root.issue_intermediate("development CA", NOW, profile=ONBOARDING_INTERMEDIATE)
    server = CertificateAuthority.create_root("server CA", NOW, profile=SERVER_CA)
    certificates = {
        "root CA": root.certificate,
        "issuing CA": ica.certificate,
        "onboarding root": onboarding_root.certificate,
        "onboarding intermediate": onboarding.certificate,
        "server CA": server.certificate,
    }
    for key_type in (KeyType.P256, KeyType.P384, KeyType.P521, KeyType.RSA2048):
        key = generate_key(key_type).public_key()
        identifier = UUID("b1e02da8-1111-4222-8333-000000000001")
        certificates |= {
            f"operational leaf, {key_type.value}": ica.issue_operational(
                "sensor-001", key, identifier, NOW, validity=MONTH, **urls
            ),
            f"onboarding leaf, {key_type.value}": onboarding.issue_onboarding("sensor-001", key, NOW, validity=MONTH),
            f"server leaf, {key_type.value}": server.issue_server(HOSTS, key, NOW, validity=MONTH),
        }
    return certificates


def rfc5280_validators() -> ValidatorContainer:
    return certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )


def findings_of(certificate: x509.Certificate) -> dict[str, str]:
    """Codes of severity WARNING and above, each with its message."""
    document = loader.load_certificate(certificate.public_bytes(Encoding.DER), "certificate")
    return {
        description.finding.code: description.message or ""
        for result in rfc5280_validators().validate(document.root)
        for description in result.finding_descriptions
        if description.finding.severity <= ValidationFindingSeverity.WARNING
    }


PROFILES = every_profile()


@pytest.mark.parametrize("profile", PROFILES)
def test_profile_has_no_finding_but_the_accepted(profile):
    """Each profile passes the RFC 5280 rules without an error or a warning."""
    findings = findings_of(PROFILES[profile])
    accepted = ACCEPTED.get(profile.partition(",")[0], {})
    assert findings.keys() == accepted.keys(), findings


def test_linter_finds_a_flaw():
    """A CA with lax extensions has findings, so the run above means something."""
    key = generate_key(KeyType.P256)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "flawed")])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 7, NOW, NOW + MONTH)
    flawed = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=False)
    assert findings_of(flawed.sign(key, signature_hash(key))).keys() == {
        "pkix.basic_constraints_extension_not_critical",
        "pkix.ca_certificate_no_ku_extension",
        "pkix.certificate_skid_ca_missing",
    }
