"""What an enrollment must be before it is stored."""

from collections.abc import Iterator
from typing import Any

import pytest

from dps.allocation import AllocationPolicy
from dps.attestation_mechanism import SymmetricKeyAttestation, X509CaReferences
from dps.enrollment import Enrollment, EnrollmentGroup, IndividualEnrollment
from dps.errors import BadRequest, NamespaceRequired
from emulator.store import SqliteStore
from tests.doubles.dps_house import GROUP_KEY, OTHER_KEY, DpsHouse, Factory, enrolled

KEYS = SymmetricKeyAttestation(GROUP_KEY, OTHER_KEY)


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    with SqliteStore(":memory:") as store:
        yield store


@pytest.fixture
def house(store: SqliteStore) -> DpsHouse:
    return DpsHouse(store)


def put(house: DpsHouse, **members: Any) -> Enrollment:
    fields = {"registration_id": "sensor-001", "attestation": KEYS, **members}
    return house.put_individual(IndividualEnrollment(**fields))


@pytest.mark.parametrize("registration_id", ["", "a b", "x" * 129, "sensor."])
def test_bad_id_is_refused(house: DpsHouse, registration_id: str) -> None:
    with pytest.raises(BadRequest, match="is not 1 to 128 letters"):
        put(house, registration_id=registration_id)


@pytest.mark.parametrize("device_id", ["a b", "", "x" * 129])
def test_bad_device_id_is_refused(house: DpsHouse, device_id: str) -> None:
    with pytest.raises(BadRequest, match="deviceId"):
        put(house, device_id=device_id)


def test_policy_needs_a_namespace(store: SqliteStore) -> None:
    house = DpsHouse(store, namespace=None)
    put(house)
    with pytest.raises(NamespaceRequired) as refusal:
        put(house, credential_policy_name="default")
    assert refusal.value.error_code == 400004
    assert refusal.value.message == "A Device Registry Namespace is required to be set on this DPS instance"


def test_policy_must_exist(house: DpsHouse) -> None:
    put(house, credential_policy_name="default")
    with pytest.raises(BadRequest, match="other"):
        put(house, credential_policy_name="other")


@pytest.mark.parametrize("hubs", [(), ("hub1.example", "hub2.example")])
def test_static_allocation_names_one_hub(house: DpsHouse, hubs: tuple[str, ...]) -> None:
    put(house, allocation_policy=AllocationPolicy.STATIC, iot_hubs=("hub1.example",))
    with pytest.raises(BadRequest, match=f"names one hub, not {len(hubs)}"):
        put(house, allocation_policy=AllocationPolicy.STATIC, iot_hubs=hubs)


def test_custom_allocation_is_not_offered(house: DpsHouse) -> None:
    with pytest.raises(BadRequest, match="'custom' is not offered"):
        put(house, allocation_policy=AllocationPolicy.CUSTOM)


def test_kind_and_certificates_must_fit(house: DpsHouse) -> None:
    factory = Factory.make()
    client = house.add_x509_device(factory.leaf("sensor-001")).attestation
    signing = house.add_x509_group().attestation
    with pytest.raises(BadRequest, match="takes client certificates"):
        put(house, attestation=signing)
    with pytest.raises(BadRequest, match="takes signing certificates"):
        house.put_group(EnrollmentGroup(enrollment_group_id="factory", attestation=client))
    put(house, attestation=X509CaReferences("root"))
    assert enrolled(factory.root.certificate).subject == factory.root.certificate.subject


@pytest.mark.parametrize("key", ["!", "AAAA", ""])
def test_bad_key_is_refused(house: DpsHouse, key: str) -> None:
    with pytest.raises(BadRequest, match="primaryKey"):
        put(house, attestation=SymmetricKeyAttestation(key, OTHER_KEY))
    with pytest.raises(BadRequest, match="secondaryKey"):
        put(house, attestation=SymmetricKeyAttestation(GROUP_KEY, key))


def test_initial_twin_keeps_the_rules_of_twins(house: DpsHouse) -> None:
    put(house, initial_twin={"tags": {"site": "a"}, "properties": {"desired": {"interval": 5}}})
    with pytest.raises(BadRequest, match=r"initialTwin of enrollment .*character"):
        put(house, initial_twin={"tags": {"a.b": 1}})
