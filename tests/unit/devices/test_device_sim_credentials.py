from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certs.authority import CertificateAuthority
from certs.keys import KeyType, generate_key, key_type_of
from certs.path import issued_by
from certs.pem import format_pem, format_private_key
from device_sim.credential import SymmetricKey
from device_sim.credentials import (
    CredentialsError,
    OnboardingCa,
    derive_keys,
    issue_certificates,
    read_individual_keys,
    read_onboarding_ca,
)
from device_sim.sas import derive_device_key

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = timedelta(days=1)
GROUP_KEY = "c2VjcmV0c2VjcmV0c2VjcmV0"


@pytest.fixture(scope="module")
def root() -> CertificateAuthority:
    return CertificateAuthority.create_root("factory root", NOW, key_type=KeyType.P256)


@pytest.fixture(scope="module")
def ca(root: CertificateAuthority) -> CertificateAuthority:
    return root.issue_intermediate("factory line 1", NOW, key_type=KeyType.P256, validity=100 * DAY)


def test_each_device_gets_a_certificate_for_a_key_of_its_own(
    ca: CertificateAuthority, root: CertificateAuthority
) -> None:
    heard: list[int] = []
    made = issue_certificates(
        OnboardingCa(ca, (root.certificate,)), ["sim-1", "sim-2"], KeyType.P384, DAY, NOW, progress=heard.append
    )
    assert [each.registration_id for each in made] == ["sim-1", "sim-2"]
    assert made[0].key.public_key() != made[1].key.public_key()
    assert heard[-1] == 2
    for each in made:
        assert key_type_of(each.key) is KeyType.P384
        assert issued_by(each.leaf, ca.certificate)
        assert each.chain[1:] == (ca.certificate, root.certificate)
        assert each.is_valid(NOW + 0.9 * DAY)
        assert not each.is_valid(NOW + DAY)


@pytest.mark.parametrize("now", [NOW - DAY, NOW + 101 * DAY], ids=["not yet valid", "expired"])
def test_ca_that_is_not_valid_now_issues_nothing(ca: CertificateAuthority, now: datetime) -> None:
    with pytest.raises(CredentialsError, match="the CA CN=factory line 1 is not valid now, but from 2026-11-23"):
        issue_certificates(OnboardingCa(ca), ["sim-1"], KeyType.P256, DAY, now)


def test_ca_is_read_with_what_stands_above_it(
    ca: CertificateAuthority, root: CertificateAuthority, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_bytes(format_pem(ca.certificate, root.certificate))
    (tmp_path / "ca.key").write_bytes(format_private_key(ca.key))
    found = read_onboarding_ca(tmp_path / "ca.pem", tmp_path / "ca.key")
    assert found.chain == (ca.certificate, root.certificate)
    assert found.authority.key.public_key() == ca.key.public_key()


def test_ca_and_key_that_do_not_belong_together_are_refused(ca: CertificateAuthority, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(format_pem(ca.certificate))
    (tmp_path / "ca.key").write_bytes(format_private_key(generate_key(KeyType.P256)))
    with pytest.raises(CredentialsError, match=r"ca\.key: the leaf CN=factory line 1 is of another private key"):
        read_onboarding_ca(tmp_path / "ca.pem", tmp_path / "ca.key")


@pytest.mark.parametrize("broken", ["ca.pem", "ca.key"])
def test_ca_file_without_what_it_should_hold_is_refused(broken: str, ca: CertificateAuthority, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(format_pem(ca.certificate))
    (tmp_path / "ca.key").write_bytes(format_private_key(ca.key))
    (tmp_path / broken).write_text("nothing of the kind")
    with pytest.raises(CredentialsError, match=broken.replace(".", r"\.")):
        read_onboarding_ca(tmp_path / "ca.pem", tmp_path / "ca.key")


def test_keys_are_derived_from_the_group_s() -> None:
    assert derive_keys(GROUP_KEY, ["sim-1"]) == [SymmetricKey("sim-1", derive_device_key(GROUP_KEY, "sim-1"))]


def test_group_key_that_is_not_base64_is_refused_and_not_shown() -> None:
    with pytest.raises(CredentialsError) as refused:
        derive_keys("not base64!", ["sim-1"])
    assert "not base64!" not in str(refused.value)


def test_individual_keys_are_read_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "keys.csv"
    path.write_text(f"# made by the factory\nsensor-b, {GROUP_KEY}\n\nsensor-a,{GROUP_KEY}\nsensor-c,{GROUP_KEY}\n")
    assert read_individual_keys(path, 2) == [SymmetricKey("sensor-b", GROUP_KEY), SymmetricKey("sensor-a", GROUP_KEY)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"a,{GROUP_KEY}\n", "holds 1 keys, the scenario has 2 devices"),
        (f"a,{GROUP_KEY}\nA,{GROUP_KEY}\n", "line 2: A is there already"),
        ("sensor-secretsecret\n", "line 1: must be registration-id,base64-key"),
        ("a,secretsecret!\n", "line 1: must be registration-id,base64-key"),
        ("a,\n", "line 1: must be registration-id,base64-key"),
        (f",{GROUP_KEY}\n", "line 1: must be registration-id,base64-key"),
    ],
)
def test_individual_keys_of_another_form_are_refused_and_not_shown(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "keys.csv"
    path.write_text(text)
    with pytest.raises(CredentialsError, match=r"keys\.csv") as refused:
        read_individual_keys(path, 2)
    assert message in str(refused.value)
    assert "secretsecret" not in str(refused.value)


def test_individual_keys_that_are_not_utf_8_are_refused(tmp_path: Path) -> None:
    (tmp_path / "keys.csv").write_bytes(b"\xff")
    with pytest.raises(CredentialsError, match="not UTF-8 at byte 0"):
        read_individual_keys(tmp_path / "keys.csv", 1)
