"""Symmetric key attestation: whose key signed a token."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dps.attestation_mechanism import SymmetricKeyAttestation
from dps.attestation_symmetric_key import attest_symmetric_key
from dps.credentials import Attested, Credentials
from dps.errors import Unauthorized
from emulator.store import SqliteStore
from hub.sas import derive_device_key, format_sas_token, parse_sas_token
from tests.doubles.dps_house import DEVICE, GROUP_KEY, NOW, OTHER_KEY, SCOPE, DpsHouse, group_token, token_for

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "dps_sas_tokens.json").read_text(encoding="utf-8"))
STRANGE_KEY = "AAAAAAAAAAAAAAAAAAAAAA=="


@pytest.fixture
def house() -> Iterator[DpsHouse]:
    with SqliteStore(":memory:") as store:
        yield DpsHouse(store)


def attested(house: DpsHouse, token: bytes, registration_id: str = DEVICE, now: datetime = NOW) -> Attested:
    credentials = Credentials(SCOPE, registration_id, parse_sas_token(token.decode()))
    return attest_symmetric_key(house.service.enrollments, credentials, now)


def refusal(house: DpsHouse, token: bytes, registration_id: str = DEVICE, now: datetime = NOW) -> str:
    with pytest.raises(Unauthorized) as refused:
        attested(house, token, registration_id, now)
    return str(refused.value)


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
def test_token_of_a_derived_key_is_recognised(house: DpsHouse, vector: dict[str, Any]) -> None:
    house.add_key_group()
    registration_id, expect = vector["input"]["registration_id"], vector["expect"]
    assert derive_device_key(GROUP_KEY, registration_id) == expect["device_key"]
    now = datetime(2026, 11, 18, tzinfo=UTC)
    found = attested(house, vector["input"]["token"].encode(), registration_id, now)
    assert (found.enrollment_group_id, found.key_id) == ("keys", expect["key_id"])


@pytest.mark.parametrize("slash", ["%2F", "%2f", "/"])
def test_resource_may_be_encoded_in_any_way(house: DpsHouse, slash: str) -> None:
    enrollment = house.add_key_device()
    assert attested(house, token_for(GROUP_KEY, slash=slash)).enrollment == enrollment


@pytest.mark.parametrize("key", [GROUP_KEY, OTHER_KEY])
def test_either_key_of_an_individual_enrollment_will_do(house: DpsHouse, key: str) -> None:
    house.add_key_device()
    assert attested(house, token_for(key)).enrollment_group_id is None


@pytest.mark.parametrize("key", [GROUP_KEY, OTHER_KEY])
def test_either_key_of_a_group_will_do(house: DpsHouse, key: str) -> None:
    house.add_key_group()
    assert attested(house, token_for(derive_device_key(key, DEVICE))).enrollment_group_id == "keys"


@pytest.mark.parametrize("spelling", ["Sensor-001", "sensor-001"])
def test_key_may_be_derived_from_the_id_as_given_or_in_lower_case(house: DpsHouse, spelling: str) -> None:
    house.add_key_group()
    found = attested(house, token_for(derive_device_key(GROUP_KEY, spelling), "Sensor-001"), "Sensor-001")
    assert (found.registration_id, found.key_id) == ("Sensor-001", spelling)


def test_key_derived_from_a_third_spelling_is_refused(house: DpsHouse) -> None:
    house.add_key_group()
    assert refusal(house, token_for(derive_device_key(GROUP_KEY, "SENSOR-001"), "Sensor-001"), "Sensor-001")


def test_group_key_itself_is_no_device_key(house: DpsHouse) -> None:
    house.add_key_group()
    assert "none of 1 enrollment groups has a key" in refusal(house, token_for(GROUP_KEY))


def test_second_group_is_tried_too(house: DpsHouse) -> None:
    house.add_key_group("a-keys")
    group = house.service.enrollments.groups.get("a-keys")
    other = SymmetricKeyAttestation(STRANGE_KEY, STRANGE_KEY)
    house.put_group(replace(group, enrollment_group_id="b-keys", attestation=other))
    token = token_for(derive_device_key(STRANGE_KEY, DEVICE))
    assert attested(house, token).enrollment_group_id == "b-keys"


def test_individual_enrollment_decides_alone(house: DpsHouse) -> None:
    house.add_key_group()
    house.add_key_device()
    assert "signed by neither key of individual enrollment 'sensor-001'" in refusal(house, group_token())


def test_individual_certificate_enrollment_takes_no_token(house: DpsHouse) -> None:
    house.add_key_group()
    house.add_x509_device(house.factory.leaf(DEVICE))
    assert "attests by certificate, not by token" in refusal(house, group_token())


@pytest.mark.parametrize(
    "resource",
    [
        f"{SCOPE}/registrations/sensor-002",
        f"0ne00FFFFFF/registrations/{DEVICE}",
        f"{SCOPE}/registrations",
        f"hub1.example/devices/{DEVICE}",
    ],
)
def test_token_for_another_resource_is_refused(house: DpsHouse, resource: str) -> None:
    house.add_key_device()
    token = format_sas_token(resource.replace("/", "%2F"), GROUP_KEY, 1795431600, "registration").encode()
    assert f"the token is for '{resource}'" in refusal(house, token)


def test_resource_is_compared_in_any_case(house: DpsHouse) -> None:
    house.add_key_device()
    assert attested(house, token_for(GROUP_KEY, "SENSOR-001"))


def test_token_is_refused_from_the_second_it_expires(house: DpsHouse) -> None:
    house.add_key_device()
    expiry = datetime.fromtimestamp(1795431600, UTC)
    token = token_for(GROUP_KEY, expires_at=1795431600)
    assert attested(house, token, now=datetime.fromtimestamp(1795431599, UTC))
    assert "the token expired at 2026-11-23T11:00:00+00:00" in refusal(house, token, now=expiry)


def test_unknown_device_is_refused_without_groups(house: DpsHouse) -> None:
    assert "no individual enrollment 'sensor-001', and none of 0 enrollment groups" in refusal(
        house, token_for(GROUP_KEY)
    )


def test_refusal_shows_no_key_and_no_signature(house: DpsHouse) -> None:
    house.add_key_device()
    token = token_for(STRANGE_KEY)
    reason = refusal(house, token)
    signature = token.split(b"sig=")[1].split(b"&")[0].decode()
    assert GROUP_KEY not in reason
    assert signature not in reason
