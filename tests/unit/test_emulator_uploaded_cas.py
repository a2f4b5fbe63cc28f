"""CA certificates that people upload to hubs and DPS."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from certs.authority import CertificateAuthority
from certs.keyfile import MemoryKeyStore
from certs.keys import KeyType, generate_key
from certs.pem import format_pem
from emulator.bootstrap import Resources, bootstrap
from emulator.config import default_config
from emulator.store import SqliteStore
from emulator.uploaded_cas import ServiceNotFound, UploadedCas, UploadRefused

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CA = CertificateAuthority.create_root("Factory", NOW, key_type=KeyType.P256)
PEM = format_pem(CA.certificate).decode()


def leaf(common_name: str) -> x509.Certificate:
    key = generate_key(KeyType.P256).public_key()
    return CA.issue_onboarding(common_name, key, NOW, validity=timedelta(days=1))


@pytest.fixture(scope="module")
def resources() -> Iterator[Resources]:
    with SqliteStore(":memory:") as store:
        yield bootstrap(default_config(), store, MemoryKeyStore(), None, NOW)


@pytest.fixture
def uploads(resources: Resources) -> Iterator[UploadedCas]:
    uploads = UploadedCas(resources)
    yield uploads
    for each in uploads.list():
        uploads.remove(each["service"], each["name"])


@pytest.mark.parametrize("service", ["hub1", "dps1"])
def test_upload_is_trusted_once_possession_is_proven(uploads: UploadedCas, service: str) -> None:
    added = uploads.add(service, "factory", PEM, is_verified=False)
    assert (added["isVerified"], added["subject"]) == (False, "CN=Factory")
    proof = format_pem(leaf(added["verificationCode"])).decode()
    verified = uploads.verify(service, "factory", proof, NOW)
    assert verified["isVerified"] is True
    assert "verificationCode" not in verified
    assert uploads.list() == [verified]


@pytest.mark.parametrize("service", ["hub1", "dps1"])
def test_upload_that_counts_as_verified_needs_no_proof(uploads: UploadedCas, service: str) -> None:
    added = uploads.add(service, "factory", PEM, is_verified=True)
    assert added["isVerified"] is True
    assert "verificationCode" not in added


@pytest.mark.parametrize("service", ["hub1", "dps1"])
@pytest.mark.parametrize(
    "pem", ["", "x", PEM + PEM, format_pem(leaf("leaf")).decode(), PEM.replace("MII", "AAA", 1)],
    ids=["empty", "no PEM", "two", "no CA", "damaged"],
)  # fmt: skip
def test_what_is_not_one_ca_certificate_is_refused(uploads: UploadedCas, service: str, pem: str) -> None:
    with pytest.raises(UploadRefused):
        uploads.add(service, "factory", pem, is_verified=True)
    assert uploads.list() == []


@pytest.mark.parametrize("service", ["hub1", "dps1"])
def test_proof_of_another_is_refused(uploads: UploadedCas, service: str) -> None:
    uploads.add(service, "factory", PEM, is_verified=False)
    with pytest.raises(UploadRefused, match="is not proven"):
        uploads.verify(service, "factory", format_pem(leaf("guess")).decode(), NOW)


@pytest.mark.parametrize("name", ["", "a/b", "n" * 65])
def test_name_has_1_to_64_characters(uploads: UploadedCas, name: str) -> None:
    with pytest.raises(UploadRefused, match="1 to 64"):
        uploads.add("hub1", name, PEM, is_verified=True)


@pytest.mark.parametrize("service", ["hub1", "dps1"])
def test_unknown_names_are_told(uploads: UploadedCas, service: str) -> None:
    with pytest.raises(UploadRefused, match="other"):
        uploads.verify(service, "other", PEM, NOW)
    with pytest.raises(UploadRefused, match="other"):
        uploads.remove(service, "other")
    with pytest.raises(ServiceNotFound, match="known: hub1, dps1"):
        uploads.add("nowhere", "factory", PEM, is_verified=True)
