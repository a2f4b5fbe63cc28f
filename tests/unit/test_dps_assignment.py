"""What an attested device gets: the hub, its identity there and in ADR, its certificate."""

import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509

from broker.gateway import Close, Refusal
from certs.identifier import device_identifier
from certs.keys import KeyType, generate_key
from certs.peer import PeerChain
from dps.allocation import AllocationPolicy
from dps.attestation_mechanism import X509ClientCertificates
from dps.enrollment import IndividualEnrollment, ReprovisionPolicy
from emulator.store import SqliteStore
from hub.identity import Authentication, AuthenticationType
from hub.sas import derive_device_key, format_sas_token
from hub.session import HubSession
from hub.twin import Twin, TwinChange
from tests.doubles.dps_house import (
    DEVICE,
    GROUP_KEY,
    NOW,
    OTHER_KEY,
    Answer,
    DpsHouse,
    body_with_csr,
    chain_of,
    enrolled,
    group_token,
    token_for,
)

CERTIFIED = Authentication(AuthenticationType.CERTIFICATE_AUTHORITY)
ONE, TWO = ("hub1.example",), ("hub2.example",)


@pytest.fixture
def house() -> Iterator[DpsHouse]:
    with SqliteStore(":memory:") as store:
        yield DpsHouse(store)


def onboard(house: DpsHouse, registration_id: str = DEVICE, body: bytes = b"", **changes: Any) -> Answer:
    """Onboard a device of the key group."""
    return house.connect(registration_id, password=group_token(registration_id), **changes).onboard(body)


def authentication(house: DpsHouse, answer: Answer) -> Authentication:
    identity = house.hubs[answer.state["assignedHub"]].registry.get(answer.state["deviceId"])
    assert identity is not None
    return identity.authentication


def error(answer: Answer) -> tuple[int, str]:
    assert (answer.status, answer.body["status"]) == (200, "failed")
    return answer.state["errorCode"], answer.state["errorMessage"]


def test_key_device_gets_its_own_keys(house: DpsHouse) -> None:
    house.add_key_device()
    answer = house.connect(password=token_for(GROUP_KEY)).onboard()
    assert authentication(house, answer) == Authentication(AuthenticationType.SAS, GROUP_KEY, OTHER_KEY)


@pytest.mark.parametrize("spelling", ["Sensor-001", "sensor-001"])
def test_group_device_gets_keys_derived_from_the_spelling_it_used(house: DpsHouse, spelling: str) -> None:
    house.add_key_group()
    token = token_for(derive_device_key(OTHER_KEY, spelling), "Sensor-001")
    answer = house.connect("Sensor-001", password=token).onboard()
    keys = [derive_device_key(key, spelling) for key in (GROUP_KEY, OTHER_KEY)]
    assert authentication(house, answer) == Authentication(AuthenticationType.SAS, *keys)


def test_individual_certificate_device_is_known_by_thumbprint(house: DpsHouse) -> None:
    primary, secondary = house.factory.leaf(DEVICE), house.factory.leaf(DEVICE)
    attestation = X509ClientCertificates(enrolled(primary), enrolled(secondary))
    house.put_individual(IndividualEnrollment(registration_id=DEVICE, attestation=attestation))
    answer = house.connect(peer_chain=chain_of(primary)).onboard()
    assert authentication(house, answer) == Authentication(
        AuthenticationType.SELF_SIGNED,
        primary_thumbprint=enrolled(primary).sha256_thumbprint,
        secondary_thumbprint=enrolled(secondary).sha256_thumbprint,
    )


def test_only_certificate_stands_in_both_places(house: DpsHouse) -> None:
    leaf = house.factory.leaf(DEVICE)
    house.add_x509_device(leaf)
    found = authentication(house, house.connect(peer_chain=chain_of(leaf)).onboard())
    assert found.primary_thumbprint == found.secondary_thumbprint == enrolled(leaf).sha256_thumbprint


def test_group_certificate_device_is_known_by_the_leaf_it_registered_with(house: DpsHouse) -> None:
    house.add_x509_group()
    for chain in (house.factory.chain(DEVICE), house.factory.chain(DEVICE)):
        found = authentication(house, house.connect(peer_chain=chain).onboard())
        assert found.type is AuthenticationType.SELF_SIGNED
        assert found.primary_thumbprint == found.secondary_thumbprint == chain.sha256_thumbprint


def test_device_with_an_issued_certificate_is_known_by_its_authority(house: DpsHouse) -> None:
    house.add_key_group(credential_policy_name="default")
    assert authentication(house, onboard(house, body=body_with_csr())) == CERTIFIED


def test_issued_certificate_stays_good_when_the_device_registers_without_csr(house: DpsHouse) -> None:
    house.add_key_group(credential_policy_name="default")
    onboard(house, body=body_with_csr())
    assert authentication(house, onboard(house)) == CERTIFIED


def test_device_returns_to_its_keys_when_the_policy_is_gone(house: DpsHouse) -> None:
    house.add_key_group(credential_policy_name="default")
    onboard(house, body=body_with_csr())
    house.change_group("keys", credential_policy_name=None)
    assert authentication(house, onboard(house)).type is AuthenticationType.SAS


def test_policy_without_csr_leaves_the_keys(house: DpsHouse) -> None:
    house.add_key_group(credential_policy_name="default")
    assert authentication(house, onboard(house)).type is AuthenticationType.SAS


def test_device_is_recorded_in_the_namespace_with_its_policy(house: DpsHouse) -> None:
    house.add_key_group(credential_policy_name="default")
    onboard(house)
    device = house.adr.device("factory", DEVICE)
    assert device is not None
    assert (device.policy, device.enabled) == ("default", True)


def test_device_without_policy_is_recorded_too(house: DpsHouse) -> None:
    house.add_key_group()
    onboard(house)
    device = house.adr.device("factory", DEVICE)
    assert device is not None
    assert device.policy is None


def test_leaf_carries_the_identifier_of_the_device(house: DpsHouse) -> None:
    house.add_key_group(credential_policy_name="default")
    answer = onboard(house, body=body_with_csr())
    leaf = x509.load_der_x509_certificate(base64.b64decode(answer.state["issuedCertificateChain"][0]))
    device = house.adr.device("factory", DEVICE)
    assert device is not None
    assert device_identifier(leaf) == device.identifier


def test_dps_without_namespace_registers_all_the_same() -> None:
    with SqliteStore(":memory:") as store:
        house = DpsHouse(store, namespace=None)
        house.add_key_group()
        assert onboard(house, body=body_with_csr()).body["status"] == "assigned"
        assert house.adr.device("factory", DEVICE) is None


def test_enrollment_may_prescribe_the_device_id(house: DpsHouse) -> None:
    house.add_key_device(device_id="Pump:7", credential_policy_name="default")
    answer = house.connect(password=token_for(GROUP_KEY)).onboard(body_with_csr())
    assert answer.state["deviceId"] == "Pump:7"
    assert answer.state["registrationId"] == DEVICE
    assert len(answer.state["issuedCertificateChain"]) == 3


def test_new_device_id_replaces_the_old_identity(house: DpsHouse) -> None:
    enrollment = house.add_key_device()
    device = house.connect(password=token_for(GROUP_KEY))
    registry = house.hubs[device.onboard().state["assignedHub"]].registry
    house.put_individual(replace(enrollment, device_id="pump"))
    assert device.onboard().state["deviceId"] == "pump"
    assert registry.get(DEVICE) is None


def test_device_id_keeps_the_first_spelling(house: DpsHouse) -> None:
    house.add_key_group()
    assert onboard(house, "Sensor-001").state["deviceId"] == "Sensor-001"
    again = onboard(house, "sensor-001")
    assert (again.state["deviceId"], again.state["registrationId"]) == ("Sensor-001", "sensor-001")


def test_enrollment_limits_the_hubs(house: DpsHouse) -> None:
    house.add_key_group(iot_hubs=TWO)
    assert {onboard(house, f"sensor-{n}").state["assignedHub"] for n in range(8)} == set(TWO)


def test_every_linked_hub_is_used_otherwise(house: DpsHouse) -> None:
    house.add_key_group()
    assert {onboard(house, f"sensor-{n}").state["assignedHub"] for n in range(16)} == {*ONE, *TWO}


def test_policy_of_the_enrollment_goes_before_that_of_the_dps(house: DpsHouse) -> None:
    house.settings = replace(house.settings, allocation_policy=AllocationPolicy.STATIC)
    house.restarted()
    house.add_key_group()
    assert {onboard(house, f"sensor-{n}").state["assignedHub"] for n in range(8)} == set(ONE)
    house.change_group("keys", allocation_policy=AllocationPolicy.HASHED)
    assert {onboard(house, f"sensor-{n}").state["assignedHub"] for n in range(16)} == {*ONE, *TWO}


def test_unlinked_hub_fails_the_registration(house: DpsHouse) -> None:
    house.add_key_group(iot_hubs=("hub9.example",))
    code, message = error(onboard(house))
    assert code == 400208
    assert "none of the hubs ['hub9.example'] is linked to DPS dps" in message


def test_certificate_needs_a_hub_of_the_namespace(house: DpsHouse) -> None:
    house.add_hub("hub3", namespace=None)
    house.add_key_group(iot_hubs=("hub3.example",), credential_policy_name="default")
    assert onboard(house).body["status"] == "assigned"
    code, message = error(onboard(house, body=body_with_csr()))
    assert code == 400208
    assert "linked to ADR namespace factory" in message


def test_hub_of_another_namespace_is_passed_over_for_a_certificate(house: DpsHouse) -> None:
    for name in ("hub1", "hub3", "hub4"):
        house.add_hub(name, namespace=None)
    house.add_key_group(credential_policy_name="default")
    hubs = {onboard(house, f"sensor-{n}", body_with_csr(f"sensor-{n}")).state["assignedHub"] for n in range(6)}
    assert hubs == set(TWO)


def moved(house: DpsHouse, policy: ReprovisionPolicy, **changes: Any) -> tuple[str, str]:
    """Register at hub1, allow hub2 only, register again: where the device is, and what it is told."""
    house.add_key_group(iot_hubs=ONE, reprovision_policy=policy)
    onboard(house)
    house.change_group("keys", iot_hubs=TWO)
    state = onboard(house, **changes).state
    return state["assignedHub"], state["substatus"]


@pytest.mark.parametrize(
    ("policy", "outcome"),
    [
        (ReprovisionPolicy(), (*TWO, "deviceDataMigrated")),
        (ReprovisionPolicy(migrate_device_data=False), (*TWO, "deviceDataReset")),
        (ReprovisionPolicy(update_hub_assignment=False), (*ONE, "initialAssignment")),
    ],
)
def test_reprovision_policy_decides(house: DpsHouse, policy: ReprovisionPolicy, outcome: tuple[str, str]) -> None:
    assert moved(house, policy) == outcome


def test_moved_device_leaves_its_former_hub(house: DpsHouse) -> None:
    moved(house, ReprovisionPolicy())
    assert house.hubs["hub1.example"].registry.get(DEVICE) is None
    assert house.hubs["hub2.example"].registry.get(DEVICE) is not None


INITIAL = {"tags": {"site": "a"}, "properties": {"desired": {"interval": 5}}}


def test_new_device_starts_with_the_initial_twin_and_keeps_its_own_afterwards(house: DpsHouse) -> None:
    house.add_key_group(iot_hubs=ONE, initial_twin=INITIAL)
    onboard(house)
    twins = house.hubs["hub1.example"].twins
    assert (twins.get(DEVICE).tags, twins.get(DEVICE).desired.values) == ({"site": "a"}, {"interval": 5})
    twins.change(DEVICE, TwinChange(desired={"interval": 9}), NOW)
    onboard(house)
    assert twins.get(DEVICE).desired.values == {"interval": 9}


def test_device_of_an_enrollment_without_initial_twin_has_an_empty_one(house: DpsHouse) -> None:
    house.add_key_group(iot_hubs=ONE)
    onboard(house)
    assert house.hubs["hub1.example"].twins.get(DEVICE) == Twin()
    assert house.store.list("hub1.twins") == []


@pytest.mark.parametrize(
    ("migrate", "initial", "values", "reported"),
    [
        (True, INITIAL, {"interval": 9}, {"temperature": 21}),
        (False, INITIAL, {"interval": 5}, {}),
        (False, None, {}, {}),
    ],
)
def test_twin_moves_with_its_device_or_starts_anew(
    house: DpsHouse, migrate: bool, initial: Any, values: Any, reported: Any
) -> None:
    policy = ReprovisionPolicy(migrate_device_data=migrate)
    house.add_key_group(iot_hubs=ONE, initial_twin=initial, reprovision_policy=policy)
    onboard(house)
    former = house.hubs["hub1.example"].twins
    former.change(DEVICE, TwinChange(desired={"interval": 9}), NOW)
    left = former.report(DEVICE, {"temperature": 21}, NOW)
    house.change_group("keys", iot_hubs=TWO)
    onboard(house)
    twin = house.hubs["hub2.example"].twins.get(DEVICE)
    assert (twin.desired.values, twin.reported.values) == (values, reported)
    assert (twin == left) is migrate
    assert former.get(DEVICE) == Twin()


def test_device_of_an_unlinked_hub_starts_with_the_initial_twin(house: DpsHouse) -> None:
    house.add_key_group(iot_hubs=ONE, initial_twin=INITIAL)
    onboard(house)
    del house.hubs["hub1.example"]
    house.change_group("keys", iot_hubs=TWO)
    onboard(house)
    assert house.hubs["hub2.example"].twins.get(DEVICE).desired.values == {"interval": 5}


def test_device_that_moves_loses_its_connection_to_the_former_hub(house: DpsHouse) -> None:
    house.add_key_group(iot_hubs=ONE)
    answer = onboard(house)
    hub = house.hubs["hub1.example"]
    token = hub_token(answer, derive_device_key(GROUP_KEY, DEVICE))
    user_name = f"hub1.example/{DEVICE}/?api-version=2021-04-12"
    session = hub.gateway.connect(house.request(user_name=user_name, password=token), NOW)
    assert isinstance(session, HubSession)
    hub.gateway.opened(session, NOW)
    house.change_group("keys", iot_hubs=TWO)
    onboard(house)
    assert hub.gateway.tick(NOW) == [Close(f"hub1/{DEVICE}", f"device {DEVICE} was deleted")]


def test_device_moves_though_its_former_identity_was_deleted(house: DpsHouse) -> None:
    house.add_key_group(iot_hubs=ONE)
    onboard(house)
    house.hubs["hub1.example"].registry.delete(DEVICE)
    house.change_group("keys", iot_hubs=TWO)
    assert onboard(house).state["assignedHub"] == "hub2.example"


def test_device_that_may_not_move_moves_when_its_hub_is_unlinked(house: DpsHouse) -> None:
    house.add_key_group(iot_hubs=ONE, reprovision_policy=ReprovisionPolicy(update_hub_assignment=False))
    onboard(house)
    del house.hubs["hub1.example"]
    house.change_group("keys", iot_hubs=TWO)
    state = onboard(house).state
    assert (state["assignedHub"], state["substatus"]) == ("hub2.example", "deviceDataMigrated")


def test_deleted_identity_is_made_again(house: DpsHouse) -> None:
    house.add_key_group(iot_hubs=ONE)
    onboard(house)
    house.hubs["hub1.example"].registry.delete(DEVICE)
    assert onboard(house).state["substatus"] == "initialAssignment"


def test_identity_that_was_there_before_is_taken_over(house: DpsHouse) -> None:
    house.add_key_group(iot_hubs=ONE)
    house.hubs["hub1.example"].registry.create(DEVICE, CERTIFIED, NOW)
    answer = onboard(house)
    assert answer.state["substatus"] == "reprovisionedToInitialAssignment"
    assert authentication(house, answer).type is AuthenticationType.SAS


def test_identity_stays_when_the_csr_is_refused(house: DpsHouse) -> None:
    house.add_key_group(iot_hubs=ONE, credential_policy_name="default")
    assert error(onboard(house, body=b'{"csr":"MIHQ"}'))[0] == 400040
    assert house.hubs["hub1.example"].registry.get(DEVICE) is not None
    assert onboard(house, body=body_with_csr()).body["status"] == "assigned"


def test_device_disabled_in_the_namespace_gets_no_certificate(house: DpsHouse) -> None:
    house.add_key_group(credential_policy_name="default")
    onboard(house, body=body_with_csr())
    house.adr.revoke_device("factory", DEVICE, NOW, disable=True)
    code, message = error(onboard(house, body=body_with_csr()))
    assert code == 403000
    assert "disabled" in message


@pytest.mark.parametrize("is_known", [True, False], ids=["moved", "recorded beforehand"])
def test_device_disabled_in_the_namespace_gets_no_identity_to_connect_with(house: DpsHouse, is_known: bool) -> None:
    """Neither at a hub that it moves to, nor at its first."""
    house.add_key_group("keys", iot_hubs=("hub1.example",))
    if is_known:
        onboard(house)
        house.change_group("keys", iot_hubs=("hub2.example",))
    else:
        house.adr.register_device("factory", DEVICE, None, NOW)
    house.adr.revoke_device("factory", DEVICE, NOW, disable=True)
    host_name = onboard(house).state["assignedHub"]
    identity = house.hubs[host_name].registry.get(DEVICE)
    assert identity is not None
    assert (identity.enabled, identity.status_reason) == (False, "disabled in the device registry")


def test_lost_namespace_fails_the_registration(house: DpsHouse) -> None:
    house.add_key_group()
    house.settings = replace(house.settings, namespace="elsewhere")
    house.restarted()
    code, message = error(onboard(house))
    assert code == 403000
    assert "elsewhere" in message


@pytest.mark.parametrize(("strict", "status"), [(False, "assigned"), (True, "failed")])
def test_rsa_request_is_refused_when_strict(house: DpsHouse, strict: bool, status: str) -> None:
    house.add_key_group(credential_policy_name="default")
    house.settings = replace(house.settings, strict=strict)
    house.restarted()
    answer = onboard(house, body=body_with_csr(DEVICE, generate_key(KeyType.RSA2048)))
    assert answer.body["status"] == status


def hub_accepts(house: DpsHouse, answer: Answer, **credentials: Any) -> bool:
    """Knock at the assigned hub with what the device has now."""
    host_name, device_id = answer.state["assignedHub"], answer.state["deviceId"]
    user_name = f"{host_name}/{device_id}/?api-version=2021-04-12"
    request = house.request(client_id=device_id, user_name=user_name, **credentials)
    return not isinstance(house.hubs[host_name].gateway.connect(request, NOW), Refusal)


def hub_token(answer: Answer, key: str) -> bytes:
    resource = f"{answer.state['assignedHub']}%2Fdevices%2F{answer.state['deviceId']}"
    return format_sas_token(resource, key, 1795431600).encode()


def test_hub_accepts_the_derived_key(house: DpsHouse) -> None:
    house.add_key_group()
    answer = onboard(house)
    assert hub_accepts(house, answer, password=hub_token(answer, derive_device_key(GROUP_KEY, DEVICE)))
    assert not hub_accepts(house, answer, password=hub_token(answer, GROUP_KEY))


def test_hub_accepts_the_issued_certificate(house: DpsHouse) -> None:
    house.add_key_group(credential_policy_name="default")
    answer = onboard(house, body=body_with_csr())
    issued = [base64.b64decode(text) for text in answer.state["issuedCertificateChain"]]
    assert hub_accepts(house, answer, peer_chain=PeerChain(tuple(issued[:2])))
    assert hub_accepts(house, answer, peer_chain=PeerChain((issued[0],)))
    assert not hub_accepts(house, answer, password=hub_token(answer, derive_device_key(GROUP_KEY, DEVICE)))


@pytest.mark.parametrize("is_group", [True, False])
def test_hub_accepts_the_onboarding_certificate_without_csr(house: DpsHouse, is_group: bool) -> None:
    chain = house.factory.chain(DEVICE)
    assert chain.leaf is not None
    if is_group:
        house.add_x509_group()
    else:
        house.add_x509_device(chain.leaf)
    answer = house.connect(peer_chain=chain).onboard()
    assert hub_accepts(house, answer, peer_chain=chain)
    assert not hub_accepts(house, answer, peer_chain=house.factory.chain(DEVICE))


def test_hub_refuses_the_onboarding_certificate_once_one_is_issued(house: DpsHouse) -> None:
    house.add_x509_group(credential_policy_name="default")
    chain = house.factory.chain(DEVICE)
    answer = house.connect(peer_chain=chain).onboard(body_with_csr())
    assert not hub_accepts(house, answer, peer_chain=chain)
