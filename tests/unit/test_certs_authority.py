"""Certificate authorities: names, times, serials, and what they refuse to issue."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from certs.authority import CertificateAuthority, IssuerNotValid
from certs.extensions import common_name_of
from certs.keys import KeyType, generate_key, key_type_of, signature_hash
from certs.path import ValidPath, validate_path

NOW = datetime(2026, 11, 23, 12, 30, 15, 999_999, tzinfo=UTC)
SECOND = NOW.replace(microsecond=0)
DAY = timedelta(days=1)
KEY = generate_key(KeyType.P256).public_key()
ROOT = CertificateAuthority.create_root("root", NOW, key_type=KeyType.P256)
ICA = ROOT.issue_intermediate("ica", NOW, key_type=KeyType.P256)


def operational(ca: CertificateAuthority, now: datetime, validity: timedelta = 30 * DAY) -> x509.Certificate:
    urls = {"crl_url": "http://a.example/crl", "issuer_url": "http://a.example/ca"}
    return ca.issue_operational("Sensor-001", KEY, uuid4(), now, validity=validity, **urls)


def period_of(certificate: x509.Certificate) -> tuple[datetime, datetime]:
    return certificate.not_valid_before_utc, certificate.not_valid_after_utc


class TestNames:
    def test_root_is_self_issued(self):
        assert ROOT.certificate.subject == ROOT.certificate.issuer
        assert ROOT.certificate.subject.rfc4514_string() == "CN=root"
        ROOT.certificate.verify_directly_issued_by(ROOT.certificate)

    def test_leaf_has_the_device_id_as_spelled_and_its_ca_as_issuer(self):
        leaf = operational(ICA, NOW)
        assert leaf.subject.rfc4514_string() == "CN=Sensor-001"
        assert leaf.issuer == ICA.certificate.subject
        assert leaf.public_key() == KEY
        leaf.verify_directly_issued_by(ICA.certificate)

    def test_server_is_named_after_its_first_host(self):
        leaf = ROOT.issue_server(["hub1.localhost", "localhost"], KEY, NOW, validity=DAY)
        assert common_name_of(leaf) == "hub1.localhost"

    def test_server_needs_a_host(self):
        with pytest.raises(ValueError, match="at least one host name"):
            ROOT.issue_server([], KEY, NOW, validity=DAY)

    @pytest.mark.parametrize("length", [0, 65])
    def test_common_name_has_1_to_64_characters(self, length):
        with pytest.raises(ValueError, match=f"has {length} characters.*1 to 64"):
            ROOT.issue_onboarding("x" * length, KEY, NOW, validity=DAY)
        with pytest.raises(ValueError, match=f"has {length} characters.*1 to 64"):
            CertificateAuthority.create_root("x" * length, NOW, key_type=KeyType.P256)

    def test_common_name_of_64_characters_is_issued(self):
        assert common_name_of(ROOT.issue_onboarding("x" * 64, KEY, NOW, validity=DAY)) == "x" * 64


class TestKeys:
    def test_cas_have_p384_keys_unless_told_otherwise(self):
        root = CertificateAuthority.create_root("root", NOW)
        ica = root.issue_intermediate("ica", NOW)
        assert [key_type_of(ca.key) for ca in (root, ica)] == [KeyType.P384, KeyType.P384]
        assert ica.certificate.signature_hash_algorithm.name == "sha384"
        assert ica.certificate.public_key() == ica.key.public_key()

    @pytest.mark.parametrize("key_type", list(KeyType), ids=lambda key_type: key_type.value)
    def test_ca_of_any_key_type_issues(self, key_type):
        ca = CertificateAuthority.create_root("root", NOW, key_type=key_type)
        leaf = operational(ca, NOW)
        assert leaf.signature_hash_algorithm.name == signature_hash(ca.key).name
        assert isinstance(validate_path(leaf, [], [ca.certificate], NOW), ValidPath)


class TestValidity:
    def test_leaf_is_valid_from_5_minutes_ago_for_the_validity_from_now(self):
        later = SECOND + DAY
        assert period_of(operational(ICA, later)) == (later - timedelta(minutes=5), later + 30 * DAY)

    def test_fractions_of_a_second_are_cut(self):
        assert period_of(operational(ICA, NOW)) == (SECOND - timedelta(minutes=5), SECOND + 30 * DAY)

    def test_leaf_can_be_valid_for_seconds(self):
        assert operational(ICA, NOW, timedelta(seconds=40)).not_valid_after_utc == SECOND + timedelta(seconds=40)

    def test_cas_live_10_and_2_years(self):
        assert period_of(ROOT.certificate) == (SECOND - timedelta(minutes=5), SECOND + timedelta(days=3653))
        assert period_of(ICA.certificate) == (SECOND - timedelta(minutes=5), SECOND + timedelta(days=731))

    def test_nothing_is_valid_before_its_issuer(self):
        assert operational(ICA, SECOND - timedelta(minutes=3)).not_valid_before_utc == SECOND - timedelta(minutes=5)

    def test_nothing_is_valid_after_its_issuer(self):
        end = ICA.certificate.not_valid_after_utc
        assert operational(ICA, end - DAY).not_valid_after_utc == end
        assert (
            ROOT.issue_intermediate(
                "late", ROOT.certificate.not_valid_after_utc - DAY, key_type=KeyType.P256
            ).certificate.not_valid_after_utc
            == ROOT.certificate.not_valid_after_utc
        )

    @pytest.mark.parametrize("away", [timedelta(days=731, seconds=1), -timedelta(minutes=5, seconds=1)])
    def test_ca_that_is_not_valid_now_issues_nothing(self, away):
        with pytest.raises(IssuerNotValid, match=r"CN=ica is valid from .* cannot issue at"):
            operational(ICA, SECOND + away)


class TestSerials:
    def test_are_positive_random_and_long(self):
        serials = {operational(ICA, NOW).serial_number for _ in range(50)}
        assert len(serials) == 50
        assert all(0 < serial < 1 << 159 for serial in serials)
        assert max(serials) >= 1 << 127


def test_foreign_ca_without_key_identifier_issues_leaves_that_chain():
    key = generate_key(KeyType.P256)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "foreign")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, NOW - DAY, NOW + DAY)
    certificate = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(
        key, signature_hash(key)
    )
    leaf = operational(CertificateAuthority(certificate, key), NOW)
    assert isinstance(validate_path(leaf, [], [certificate], NOW), ValidPath)
    identifier = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert identifier == x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
