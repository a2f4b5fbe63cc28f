"""The stored enrollments: IDs, ETags, uniqueness and the index of groups."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from adr.store import StoreError
from dps.attestation_mechanism import (
    SymmetricKeyAttestation,
    X509CaReferences,
    X509ClientCertificates,
    X509SigningCertificates,
)
from dps.enrollment import EnrollmentGroup, IndividualEnrollment, ProvisioningStatus
from dps.enrollments import MAX_PARSED, Enrollments
from dps.errors import EnrollmentConflict, EnrollmentNotFound, EtagMismatch
from emulator.store import SqliteStore
from tests.doubles.dps_house import GROUP_KEY, NOW, OTHER_KEY, Factory, enrolled

LATER = NOW + timedelta(seconds=1)
KEYS = SymmetricKeyAttestation(GROUP_KEY, OTHER_KEY)
DEVICE = IndividualEnrollment(registration_id="Sensor-001", attestation=KEYS)
FACTORY = Factory.make()
OTHER = Factory.make("Other")


def group(name: str, *roots: Factory) -> EnrollmentGroup:
    attestation = X509SigningCertificates(*(enrolled(factory.root.certificate) for factory in roots))
    return EnrollmentGroup(enrollment_group_id=name, attestation=attestation)


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    with SqliteStore(":memory:") as store:
        yield store


@pytest.fixture
def enrollments(store: SqliteStore) -> Enrollments:
    return Enrollments(store, "0ne0", lambda enrollment: None)


def names(groups: list[EnrollmentGroup]) -> list[str]:
    return [each.name for each in groups]


def test_enrollment_is_found_in_any_case(enrollments: Enrollments) -> None:
    stored = enrollments.individuals.put(DEVICE, NOW)
    assert enrollments.individuals.get("SENSOR-001") == enrollments.individuals.find("sensor-001") == stored
    assert stored.registration_id == "Sensor-001"


def test_stored_enrollment_has_times_and_etag(enrollments: Enrollments) -> None:
    first = enrollments.individuals.put(DEVICE, NOW)
    second = enrollments.individuals.put(replace(first, device_id="x"), LATER)
    assert (first.created_at, first.last_updated_at) == (NOW, NOW)
    assert (second.created_at, second.last_updated_at) == (NOW, LATER)
    assert first.etag != second.etag
    assert enrollments.individuals.get("sensor-001") == second


def test_put_with_the_present_etag_succeeds(enrollments: Enrollments) -> None:
    first = enrollments.individuals.put(DEVICE, NOW)
    assert enrollments.individuals.put(first, LATER, if_match=f'"{first.etag}"').etag != first.etag


@pytest.mark.parametrize("if_match", ["", "AAAA", '"old"'])
def test_put_with_another_etag_is_refused_and_changes_nothing(enrollments: Enrollments, if_match: str) -> None:
    first = enrollments.individuals.put(DEVICE, NOW)
    with pytest.raises(EtagMismatch, match="is not the present ETag of enrollment 'Sensor-001'"):
        enrollments.individuals.put(replace(DEVICE, device_id="x"), LATER, if_match)
    assert enrollments.individuals.get("sensor-001") == first


def test_etag_of_nothing_matches_nothing(enrollments: Enrollments) -> None:
    with pytest.raises(EtagMismatch):
        enrollments.individuals.put(DEVICE, NOW, if_match="*")


def test_etag_does_not_come_back_with_a_new_enrollment(enrollments: Enrollments) -> None:
    first = enrollments.individuals.put(DEVICE, NOW)
    enrollments.individuals.delete("sensor-001")
    enrollments.individuals.put(DEVICE, LATER)
    with pytest.raises(EtagMismatch):
        enrollments.individuals.delete("sensor-001", if_match=first.etag)


def test_deleted_enrollment_is_gone(enrollments: Enrollments) -> None:
    stored = enrollments.individuals.put(DEVICE, NOW)
    enrollments.individuals.delete("SENSOR-001", if_match=stored.etag)
    assert enrollments.individuals.find("sensor-001") is None
    with pytest.raises(EnrollmentNotFound, match="'sensor-001'"):
        enrollments.individuals.get("sensor-001")
    with pytest.raises(EnrollmentNotFound):
        enrollments.individuals.delete("sensor-001")


def test_enrollments_are_listed_page_by_page(enrollments: Enrollments) -> None:
    for number in range(5):
        enrollments.individuals.put(replace(DEVICE, registration_id=f"Sensor-00{number}"), NOW)
    first = enrollments.individuals.list(limit=2)
    rest = enrollments.individuals.list(after=first[-1].name)
    assert [each.name for each in (*first, *rest)] == [f"Sensor-00{number}" for number in range(5)]


def test_groups_and_individuals_do_not_share_ids(enrollments: Enrollments) -> None:
    enrollments.individuals.put(replace(DEVICE, registration_id="same"), NOW)
    enrollments.groups.put(replace(group("same", FACTORY)), NOW)
    enrollments.groups.delete("same")
    assert enrollments.individuals.find("same") is not None


def test_unchanged_enrollment_is_parsed_once(enrollments: Enrollments) -> None:
    enrollments.groups.put(group("factory", FACTORY), NOW)
    assert enrollments.groups.get("factory") is enrollments.groups.get("FACTORY")


def test_changed_enrollment_is_parsed_again(enrollments: Enrollments) -> None:
    stored = enrollments.groups.put(group("factory", FACTORY), NOW)
    assert enrollments.groups.get("factory").enabled
    enrollments.groups.put(replace(stored, provisioning_status=ProvisioningStatus.DISABLED), NOW)
    assert not enrollments.groups.get("factory").enabled


def test_rolled_back_revision_is_not_remembered(store: SqliteStore, enrollments: Enrollments) -> None:
    """A revision that a failed commit gave away comes back with another text."""
    enrollments.individuals.put(DEVICE, NOW)
    store.commit()
    enrollments.individuals.put(replace(DEVICE, device_id="undone"), NOW)
    assert enrollments.individuals.get("sensor-001").device_id == "undone"
    store._undo(sqlite3.OperationalError("disk full"))
    with pytest.raises(StoreError):
        store.commit()
    assert enrollments.individuals.get("sensor-001").device_id is None
    enrollments.individuals.put(replace(DEVICE, device_id="kept"), NOW)
    assert enrollments.individuals.get("sensor-001").device_id == "kept"


def test_memory_of_parsed_enrollments_is_bounded(enrollments: Enrollments) -> None:
    for number in range(MAX_PARSED + 1):
        enrollments.individuals.put(replace(DEVICE, registration_id=f"sensor-{number}"), NOW)
        enrollments.individuals.get(f"sensor-{number}")
    assert len(enrollments.individuals._parsed) == 1


def test_group_is_found_by_the_subject_of_each_signing_certificate(enrollments: Enrollments) -> None:
    enrollments.groups.put(group("both", FACTORY, OTHER), NOW)
    for factory in (FACTORY, OTHER):
        assert names(enrollments.groups.with_signing_certificate(factory.root.certificate.subject)) == ["both"]
    assert enrollments.groups.with_signing_certificate(FACTORY.intermediate.certificate.subject) == []


def test_two_certificates_of_one_subject_find_their_group_once(enrollments: Enrollments) -> None:
    enrollments.groups.put(group("both", FACTORY, Factory.make("Factory")), NOW)
    assert names(enrollments.groups.with_signing_certificate(FACTORY.root.certificate.subject)) == ["both"]


def test_signing_certificate_belongs_to_one_group(enrollments: Enrollments) -> None:
    enrollments.groups.put(group("first", FACTORY), NOW)
    with pytest.raises(EnrollmentConflict, match="signing certificate of group 'second' belongs to group 'first'"):
        enrollments.groups.put(group("second", OTHER, FACTORY), NOW)
    assert enrollments.groups.find("second") is None
    assert enrollments.groups.with_signing_certificate(OTHER.root.certificate.subject) == []


def test_group_keeps_its_own_signing_certificate(enrollments: Enrollments) -> None:
    enrollments.groups.put(group("Factory", FACTORY), NOW)
    enrollments.groups.put(group("factory", FACTORY, OTHER), NOW)
    assert names(enrollments.groups.with_signing_certificate(OTHER.root.certificate.subject)) == ["factory"]


def test_replaced_signing_certificate_is_free_again(enrollments: Enrollments) -> None:
    enrollments.groups.put(group("first", FACTORY), NOW)
    enrollments.groups.put(group("first", OTHER), NOW)
    assert enrollments.groups.with_signing_certificate(FACTORY.root.certificate.subject) == []
    enrollments.groups.put(group("second", FACTORY), NOW)


def test_signing_certificate_of_a_deleted_group_is_free_again(enrollments: Enrollments) -> None:
    enrollments.groups.put(group("first", FACTORY), NOW)
    enrollments.groups.delete("FIRST")
    assert enrollments.groups.with_signing_certificate(FACTORY.root.certificate.subject) == []
    enrollments.groups.put(group("second", FACTORY), NOW)


def test_refused_delete_leaves_the_index(enrollments: Enrollments) -> None:
    enrollments.groups.put(group("first", FACTORY), NOW)
    with pytest.raises(EtagMismatch):
        enrollments.groups.delete("first", if_match="AAAA")
    assert names(enrollments.groups.with_signing_certificate(FACTORY.root.certificate.subject)) == ["first"]


def test_groups_are_indexed_by_their_mechanism(enrollments: Enrollments) -> None:
    references = X509CaReferences("root")
    enrollments.groups.put(EnrollmentGroup(enrollment_group_id="Keys", attestation=KEYS), NOW)
    enrollments.groups.put(EnrollmentGroup(enrollment_group_id="References", attestation=references), NOW)
    enrollments.groups.put(group("Certificates", FACTORY), NOW)
    assert names(enrollments.groups.with_symmetric_keys()) == ["Keys"]
    assert names(enrollments.groups.with_ca_references()) == ["References"]
    enrollments.groups.put(EnrollmentGroup(enrollment_group_id="keys", attestation=references), NOW)
    assert enrollments.groups.with_symmetric_keys() == []


def test_group_with_client_certificates_is_found_by_nothing(enrollments: Enrollments) -> None:
    """The rules refuse it; should one ever be stored, nobody comes in by it."""
    attestation = X509ClientCertificates(enrolled(FACTORY.root.certificate))
    enrollments.groups.put(EnrollmentGroup(enrollment_group_id="odd", attestation=attestation), NOW)
    assert enrollments.groups.with_signing_certificate(FACTORY.root.certificate.subject) == []
