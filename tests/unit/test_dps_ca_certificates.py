"""Uploaded CA certificates and their proof of possession."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from dps.ca_certificates import CaCertificates
from dps.errors import BadRequest, CertificateNotFound
from emulator.store import SqliteStore
from tests.doubles.dps_house import NOW, Factory, enrolled

FACTORY = Factory.make()


@pytest.fixture
def uploads() -> Iterator[CaCertificates]:
    with SqliteStore(":memory:") as store:
        uploads = CaCertificates(store, "0ne0")
        uploads.put("ca", enrolled(FACTORY.intermediate.certificate))
        yield uploads


def test_uploaded_certificate_is_not_verified(uploads: CaCertificates) -> None:
    uploaded = uploads.get("ca")
    assert (uploaded.is_verified, uploaded.verification_code) == (False, None)
    assert uploaded.enrolled.certificate == FACTORY.intermediate.certificate


def test_owner_proves_possession_by_signing_the_code(uploads: CaCertificates) -> None:
    code = uploads.generate_verification_code("ca")
    assert uploads.get("ca").verification_code == code
    verified = uploads.verify("ca", FACTORY.leaf(code), NOW)
    assert verified == uploads.get("ca")
    assert (verified.is_verified, verified.verification_code) == (True, None)


def test_each_code_is_another(uploads: CaCertificates) -> None:
    assert uploads.generate_verification_code("ca") != uploads.generate_verification_code("ca")


def test_proof_needs_a_code_first(uploads: CaCertificates) -> None:
    with pytest.raises(BadRequest, match="has no verification code yet"):
        uploads.verify("ca", FACTORY.leaf("x"), NOW)


def test_proof_with_another_name_is_refused(uploads: CaCertificates) -> None:
    uploads.generate_verification_code("ca")
    with pytest.raises(BadRequest, match="is not the verification code"):
        uploads.verify("ca", FACTORY.leaf("x"), NOW)


def test_proof_of_another_authority_is_refused(uploads: CaCertificates) -> None:
    code = uploads.generate_verification_code("ca")
    with pytest.raises(BadRequest, match="possession of 'ca' is not proven"):
        uploads.verify("ca", Factory.make().leaf(code), NOW)
    with pytest.raises(BadRequest, match="possession of 'ca' is not proven"):
        uploads.verify("ca", FACTORY.leaf(code), NOW + timedelta(days=3650))
    assert not uploads.get("ca").is_verified


def test_new_upload_has_to_be_verified_again(uploads: CaCertificates) -> None:
    uploads.put("ca", enrolled(FACTORY.root.certificate), is_verified=True)
    uploads.put("ca", enrolled(FACTORY.root.certificate))
    assert not uploads.get("ca").is_verified


def test_unknown_name(uploads: CaCertificates) -> None:
    for call in (uploads.get, uploads.generate_verification_code):
        with pytest.raises(CertificateNotFound, match="no CA certificate named 'other'"):
            call("other")


def test_uploads_are_listed_and_deleted(uploads: CaCertificates) -> None:
    uploads.put("another", enrolled(FACTORY.root.certificate))
    assert [each.name for each in uploads.list()] == ["another", "ca"]
    uploads.delete("another")
    assert uploads.list() == [uploads.get("ca")]
    with pytest.raises(CertificateNotFound):
        uploads.delete("another")
