from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from broker.tls import TlsKey
from certs.authority import CertificateAuthority
from certs.keys import KeyType, generate_key
from certs.pem import format_pem, format_private_key
from device_sim.credential import ClientCertificate, SymmetricKey
from device_sim.errors import CertificateMismatch

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ROOT = CertificateAuthority.create_root("root", NOW)
INTERMEDIATE = ROOT.issue_intermediate("intermediate", NOW)
KEY = generate_key(KeyType.P256)
LEAF = INTERMEDIATE.issue_onboarding("sensor-001", KEY.public_key(), NOW, validity=timedelta(days=10))
CERTIFICATE = ClientCertificate((LEAF, INTERMEDIATE.certificate, ROOT.certificate), KEY)


def test_registration_id_is_the_common_name_of_the_leaf() -> None:
    assert CERTIFICATE.registration_id == "sensor-001"


def test_root_is_not_presented() -> None:
    assert CERTIFICATE.presented == (LEAF, INTERMEDIATE.certificate)


def test_self_signed_certificate_alone_is_presented() -> None:
    assert ClientCertificate((ROOT.certificate,), ROOT.key).presented == (ROOT.certificate,)


def test_chain_without_root_is_presented_whole() -> None:
    chain = (LEAF, INTERMEDIATE.certificate)
    assert ClientCertificate(chain, KEY).presented == chain


def test_another_private_key_is_refused() -> None:
    with pytest.raises(CertificateMismatch, match="sensor-001 is of another private key"):
        ClientCertificate((LEAF,), generate_key(KeyType.P256))


def test_chain_with_a_gap_is_refused() -> None:
    with pytest.raises(CertificateMismatch, match="followed by CN=root, but issued by CN=intermediate"):
        ClientCertificate((LEAF, ROOT.certificate), KEY)


def test_empty_chain_is_refused() -> None:
    with pytest.raises(CertificateMismatch, match="no certificate"):
        ClientCertificate((), KEY)


def test_leaf_without_common_name_has_no_registration_id() -> None:
    nameless = (
        x509.CertificateBuilder(x509.Name([]), x509.Name([]), KEY.public_key(), 1, NOW, NOW + timedelta(days=1))
    ).sign(KEY, hashes.SHA256())
    with pytest.raises(CertificateMismatch, match="no common name"):
        _ = ClientCertificate((nameless,), KEY).registration_id


def test_certificate_is_valid_from_its_first_to_before_its_last_moment() -> None:
    first, last = LEAF.not_valid_before_utc, LEAF.not_valid_after_utc
    moment = timedelta(seconds=1)
    assert [CERTIFICATE.is_valid(at) for at in (first - moment, first, last - moment, last)] == [
        False,
        True,
        True,
        False,
    ]


def test_renewal_is_due_after_four_fifths_of_the_lifetime() -> None:
    first, last = LEAF.not_valid_before_utc, LEAF.not_valid_after_utc
    assert CERTIFICATE.renewal_due - first == 4 * (last - CERTIFICATE.renewal_due)


def test_pair_is_read_from_two_files(tmp_path: Path) -> None:
    chain_file, key_file = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain_file.write_bytes(format_pem(*CERTIFICATE.chain))
    key_file.write_bytes(format_private_key(KEY))
    assert ClientCertificate.read(chain_file, key_file).chain == CERTIFICATE.chain


def test_what_tls_presents_is_made_once() -> None:
    certificate = ClientCertificate((LEAF, INTERMEDIATE.certificate), KEY)
    identity = certificate.prepare(TlsKey(KEY)).identity
    assert certificate.identity is identity


def test_keys_are_not_shown() -> None:
    assert "PrivateKey" not in repr(CERTIFICATE)
    assert "c2VjcmV0" not in repr(SymmetricKey("sensor-001", "c2VjcmV0"))


def test_key_of_a_group_is_derived_for_the_device() -> None:
    assert SymmetricKey.of_group("c2VjcmV0", "sensor-001") != SymmetricKey.of_group("c2VjcmV0", "sensor-002")
