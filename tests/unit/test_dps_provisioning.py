"""The course of a registration that takes its time."""

import base64
import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from dps.enrollment import ProvisioningStatus
from dps.registration import RegistrationStatus
from emulator.store import SqliteStore
from tests.doubles.dps_house import DEVICE, NOW, Device, DpsHouse, body_with_csr, chain_of, csr_for, group_token

DELAY = timedelta(seconds=5)
BODY = json.dumps({"csr": base64.b64encode(csr_for(DEVICE)).decode(), "payload": {"a": 1}}).encode()


@pytest.fixture
def house() -> Iterator[DpsHouse]:
    with SqliteStore(":memory:") as store:
        house = DpsHouse(store, assigning_delay=DELAY)
        house.add_key_group(credential_policy_name="default")
        yield house


def connect(house: DpsHouse) -> Device:
    return house.connect(password=group_token())


def begun(house: DpsHouse, body: bytes = BODY) -> tuple[Device, str]:
    device = connect(house)
    return device, device.register(body).body["operationId"]


def status(device: Device, operation_id: str, after: timedelta = DELAY) -> str:
    device.now = NOW + after
    answer: str = device.poll(operation_id).body["status"]
    return answer


def identity_count(house: DpsHouse) -> int:
    return sum(hub.registry.get(DEVICE) is not None for hub in house.hubs.values())


def test_nothing_is_done_before_it_is_due(house: DpsHouse) -> None:
    device, operation_id = begun(house)
    assert status(device, operation_id, DELAY - timedelta(microseconds=1)) == "assigning"
    assert identity_count(house) == 0
    assert house.service.registrations.get(DEVICE).status is RegistrationStatus.ASSIGNING


def test_poll_finishes_what_is_due(house: DpsHouse) -> None:
    device, operation_id = begun(house)
    assert status(device, operation_id) == "assigned"
    assert identity_count(house) == 1
    assert len(house.adr.issued("factory", DEVICE)) == 1


def test_tick_finishes_what_is_due_though_nobody_polls(house: DpsHouse) -> None:
    device, operation_id = begun(house)
    house.tick(NOW + DELAY)
    assert house.service.registrations.get(DEVICE).status is RegistrationStatus.ASSIGNED
    house.tick(NOW + DELAY)
    assert status(device, operation_id) == "assigned"
    assert len(house.adr.issued("factory", DEVICE)) == 1


def test_unfinished_operation_survives_a_restart(house: DpsHouse) -> None:
    _, operation_id = begun(house)
    house.restarted()
    house.tick(NOW + DELAY)
    answer = connect(house).poll(operation_id)
    assert len(answer.state["issuedCertificateChain"]) == 3


def test_clock_that_jumps_finishes_before_it_forgets(house: DpsHouse) -> None:
    begun(house)
    house.tick(NOW + timedelta(days=30))
    assert house.service.registrations.get(DEVICE).status is RegistrationStatus.ASSIGNED


def test_same_request_again_is_answered_with_the_same_operation(house: DpsHouse) -> None:
    _, operation_id = begun(house)
    again = connect(house).register(BODY)
    assert (again.status, again.body["operationId"]) == (202, operation_id)


def test_other_request_meanwhile_is_a_conflict(house: DpsHouse) -> None:
    _, operation_id = begun(house)
    for body in (b"", body_with_csr()):
        answer = connect(house).register(body)
        assert answer.topic == "$dps/registrations/res/409/?$rid=1"
        assert answer.body["errorCode"] == 409000
        assert operation_id in answer.body["message"]


def test_next_request_finishes_the_one_that_is_due(house: DpsHouse) -> None:
    device, first = begun(house)
    device.now = NOW + DELAY
    second = device.register().body["operationId"]
    assert second != first
    assert device.poll(first).body["status"] == "assigned"
    assert device.poll(second).body["status"] == "assigning"


def test_enrollment_disabled_meanwhile_disables(house: DpsHouse) -> None:
    device, operation_id = begun(house)
    house.change_group("keys", provisioning_status=ProvisioningStatus.DISABLED)
    device.now = NOW + DELAY
    answer = device.poll(operation_id)
    assert answer.topic.startswith("$dps/registrations/res/200/")
    assert (answer.body["operationId"], answer.body["status"]) == (operation_id, "disabled")
    assert identity_count(house) == 0


def test_enrollment_deleted_meanwhile_fails(house: DpsHouse) -> None:
    device, operation_id = begun(house)
    house.service.enrollments.groups.delete("keys")
    device.now = NOW + DELAY
    answer = device.poll(operation_id)
    assert answer.body["status"] == "failed"
    assert answer.state["errorCode"] == 404201
    assert identity_count(house) == 0


def test_individual_enrollment_is_found_again_too(house: DpsHouse) -> None:
    leaf = house.factory.leaf(DEVICE)
    house.add_x509_device(leaf)
    device = house.connect(peer_chain=chain_of(leaf))
    assert status(device, device.register().body["operationId"]) == "assigned"


def test_answered_disabled_in_between_ends_the_operation(house: DpsHouse) -> None:
    """Disabled, told so, enabled again and registered anew: the old operation must not touch the new one."""
    device, old = begun(house)
    house.change_group("keys", provisioning_status=ProvisioningStatus.DISABLED)
    assert device.register(BODY).body["status"] == "disabled"
    house.change_group("keys", provisioning_status=ProvisioningStatus.ENABLED)
    new = device.register(BODY).body["operationId"]
    assert status(device, old) == "disabled"
    assert status(device, new) == "assigned"
    assert len(house.adr.issued("factory", DEVICE)) == 1
