from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from adr.store import StoreError
from certs.keyfile import FileKeyStore
from certs.path import ValidPath, validate_path
from certs.pem import parse_pem_certificates
from emulator.development_ca import (
    DevelopmentCa,
    ensure_development_ca,
    export_development_ca,
    find_development_ca,
    open_dev_ca,
)
from emulator.kept_certificates import KeptCertificates
from emulator.store import SqliteStore

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def keys(tmp_path: Path) -> FileKeyStore:
    return FileKeyStore(tmp_path / "keys")


@pytest.fixture
def kept(keys: FileKeyStore) -> KeptCertificates:
    return KeptCertificates(SqliteStore(":memory:"), keys)


def assert_onboards(ca: DevelopmentCa, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = ca.intermediate.issue_onboarding("sensor-001", key.public_key(), now, validity=DAY)
    for anchors in ([ca.root], [ca.intermediate.certificate]):
        assert isinstance(validate_path(leaf, [ca.intermediate.certificate], anchors, now), ValidPath)


def test_intermediate_issues_what_validates_to_both(kept: KeptCertificates) -> None:
    assert_onboards(ensure_development_ca(kept, NOW), NOW)


def test_second_call_finds_the_same(kept: KeptCertificates) -> None:
    first = ensure_development_ca(kept, NOW)
    second = ensure_development_ca(kept, NOW + 1700 * DAY)
    assert (second.root, second.intermediate.certificate) == (first.root, first.intermediate.certificate)
    found = find_development_ca(kept)
    assert found is not None
    assert (found.root, found.intermediate.certificate) == (first.root, first.intermediate.certificate)


def test_nothing_is_found_where_nothing_was_made(kept: KeptCertificates) -> None:
    assert find_development_ca(kept) is None


def test_intermediate_near_expiry_is_renewed_under_the_old_root(kept: KeptCertificates) -> None:
    first = ensure_development_ca(kept, NOW)
    later = NOW + 1810 * DAY
    second = ensure_development_ca(kept, later)
    assert second.root == first.root
    assert second.intermediate.certificate != first.intermediate.certificate
    assert_onboards(second, later)


def test_root_near_expiry_is_replaced_with_its_intermediate(kept: KeptCertificates) -> None:
    first = ensure_development_ca(kept, NOW)
    later = NOW + 3640 * DAY
    second = ensure_development_ca(kept, later)
    assert second.root != first.root
    assert_onboards(second, later)


def test_lost_key_makes_a_new_ca(kept: KeptCertificates, keys: FileKeyStore) -> None:
    first = ensure_development_ca(kept, NOW)
    keys.delete("dev-ca-root")
    second = ensure_development_ca(kept, NOW)
    assert second.root != first.root
    assert_onboards(second, NOW)


def test_damaged_key_is_an_error_that_names_the_file(kept: KeptCertificates, tmp_path: Path) -> None:
    ensure_development_ca(kept, NOW)
    (tmp_path / "keys" / "dev-ca-root.key").write_text("not a key")
    with pytest.raises(StoreError, match=r"a private key of the state is damaged: .*dev-ca-root\.key"):
        ensure_development_ca(kept, NOW)


class TestExport:
    def test_exported_ca_opens_beside_the_process(self, kept: KeptCertificates, tmp_path: Path) -> None:
        ca = ensure_development_ca(kept, NOW)
        export_development_ca(ca, tmp_path)
        opened = open_dev_ca(tmp_path)
        assert opened is not None
        assert opened.certificate == ca.intermediate.certificate
        assert_onboards(DevelopmentCa(ca.root, opened), NOW)

    def test_file_holds_the_intermediate_then_the_root(self, kept: KeptCertificates, tmp_path: Path) -> None:
        ca = ensure_development_ca(kept, NOW)
        export_development_ca(ca, tmp_path)
        exported = parse_pem_certificates((tmp_path / "dev-ca.pem").read_bytes())
        assert exported == (ca.intermediate.certificate, ca.root)

    def test_file_is_written_only_when_it_changes(self, kept: KeptCertificates, tmp_path: Path) -> None:
        export_development_ca(ensure_development_ca(kept, NOW), tmp_path)
        written = (tmp_path / "dev-ca.pem").stat().st_ino
        export_development_ca(ensure_development_ca(kept, NOW), tmp_path)
        assert (tmp_path / "dev-ca.pem").stat().st_ino == written
        export_development_ca(ensure_development_ca(kept, NOW + 1810 * DAY), tmp_path)
        assert (tmp_path / "dev-ca.pem").stat().st_ino != written

    def test_directory_without_state_has_none(self, tmp_path: Path) -> None:
        assert open_dev_ca(tmp_path) is None

    def test_key_without_certificate_has_none(self, kept: KeptCertificates, tmp_path: Path) -> None:
        ensure_development_ca(kept, NOW)
        assert open_dev_ca(tmp_path) is None
