"""What each shipping client needs of an answer: one test for each thing a naive emulator gets wrong.

What needs more than a gateway is tested elsewhere: PUBACK before the answer and the granted QoS at the broker's
connection, WebSocket paths and subprotocols at its front, the two answers to a renewal at the hub's credentials.
"""

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from broker.gateway import Publish
from dps.api_version import KNOWN_API_VERSIONS
from dps.enrollment import ProvisioningStatus
from emulator.store import SqliteStore
from tests.doubles.dps_house import (
    DEVICE,
    GROUP_KEY,
    NOW,
    Answer,
    Device,
    DpsHouse,
    body_with_csr,
    chain_of,
    group_token,
    token_for,
)

CSHARP_TOPIC = re.compile(r"^\$dps/registrations/res/(.*?)/\?\$rid=(.*?)$")
NODE_TOPIC = re.compile(r"^\$dps/registrations/res/(.*)/\?(.*)$")
STATUSES = {"assigning", "assigned", "failed", "disabled"}


@pytest.fixture
def house() -> Iterator[DpsHouse]:
    with SqliteStore(":memory:") as store:
        yield DpsHouse(store)


def outcomes(house: DpsHouse) -> list[Publish]:
    """One answer of every kind, as they leave."""
    house.add_x509_group(credential_policy_name="default")
    house.add_key_group()
    house.add_key_device("disabled-1", provisioning_status=ProvisioningStatus.DISABLED)
    device = house.connect(peer_chain=house.factory.chain(DEVICE))
    device.onboard(body_with_csr())
    device.onboard(b'{"csr":"MIHQ"}')
    device.register(b"{")
    device.poll("5.0.x")
    keys = house.connect("sensor-002", password=group_token("sensor-002"))
    keys.onboard()
    disabled = house.connect("disabled-1", password=token_for(GROUP_KEY, "disabled-1"))
    disabled.register()
    unknown = house.connect("sensor-003", peer_chain=chain_of(house.factory.root.certificate))
    unknown.register()
    return [*device.messages, *keys.messages, *disabled.messages, *unknown.messages]


@pytest.fixture
def messages(house: DpsHouse) -> list[Publish]:
    return outcomes(house)


def bodies(messages: list[Publish]) -> list[dict[str, Any]]:
    return [Answer.of(message).body for message in messages]


def test_every_kind_of_answer_is_looked_at(messages: list[Publish]) -> None:
    assert {Answer.of(message).status for message in messages} == {200, 202, 400, 401, 404}
    assert {body["status"] for body in bodies(messages) if "status" in body} == STATUSES


def test_python_splits_the_topic_at_the_dollar(messages: list[Publish]) -> None:
    for message in messages:
        assert message.topic.count("$") == 2
        path, _, query = message.topic.partition("?")
        assert path.split("/")[3].isdigit()
        keys = [pair.split("=")[0] for pair in query.split("&")]
        assert keys in (["$rid"], ["$rid", "retry-after"])


def test_python_and_java_read_whole_seconds_from_retry_after(messages: list[Publish]) -> None:
    for message in messages:
        assert ("&retry-after=3" in message.topic) == message.topic.startswith("$dps/registrations/res/202/")
        assert "retry-after" not in message.topic or re.search(r"&retry-after=\d+$", message.topic)


def test_node_matches_the_topic_and_reads_ascii_json(messages: list[Publish]) -> None:
    for message in messages:
        assert NODE_TOPIC.match(message.topic)
        assert isinstance(json.loads(message.payload.decode("ascii")), dict)


def test_csharp_matches_the_topic_and_reads_a_map_of_texts(messages: list[Publish]) -> None:
    for message in messages:
        assert CSHARP_TOPIC.match(message.topic)
    for body in bodies(messages):
        if "errorCode" in body:
            assert isinstance(body["errorCode"], int)
            assert all(isinstance(value, str) for value in body.get("info", {}).values())


def test_java_finds_no_null_and_no_partial_node(messages: list[Publish]) -> None:
    for body in bodies(messages):
        if "errorCode" in body:
            continue
        assert body["operationId"] is not None
        assert body["status"]
        state = body.get("registrationState")
        if state is not None:
            assert None not in state.values()
            assert state["registrationId"]
            assert state["status"] == body["status"]
            assert not {"certificateInfo", "signingCertificateInfo"} & set(state.get("x509", {}))
            assert isinstance(state.get("payload", {}), dict)


def test_java_and_c_find_the_hub_of_an_assigned_device(messages: list[Publish]) -> None:
    assigned = [body["registrationState"] for body in bodies(messages) if body.get("status") == "assigned"]
    assert len(assigned) == 2
    assert all(state["assignedHub"] and state["deviceId"] for state in assigned)


def test_embedded_c_finds_hub_and_device_both_or_neither(messages: list[Publish]) -> None:
    for body in bodies(messages):
        state = body.get("registrationState", {})
        assert ("assignedHub" in state) == ("deviceId" in state)
        assert {"operationId", "status"} <= set(body) or "errorCode" in body


def test_embedded_c_has_room_for_three_certificates(messages: list[Publish]) -> None:
    chains = [body.get("registrationState", {}).get("issuedCertificateChain") for body in bodies(messages)]
    (chain,) = [chain for chain in chains if chain is not None]
    assert len(chain) == 3
    assert all(base64.b64decode(each, validate=True)[0] == 0x30 for each in chain)


def test_embedded_c_divides_error_codes_by_a_thousand(messages: list[Publish]) -> None:
    for message in messages:
        answer = Answer.of(message)
        if "errorCode" in answer.body:
            assert answer.body["errorCode"] // 1000 == answer.status


def test_c_finds_a_chain_when_it_sent_a_csr(house: DpsHouse) -> None:
    house.add_x509_group(credential_policy_name="default")
    state = house.connect(peer_chain=house.factory.chain(DEVICE)).onboard(body_with_csr()).state
    assert isinstance(state["issuedCertificateChain"], list)


def registered(house: DpsHouse) -> Device:
    house.add_key_group()
    return house.connect(password=group_token())


def test_edge_and_unified_sdk_want_202_and_assigning_first(house: DpsHouse) -> None:
    accepted = registered(house).register()
    assert (accepted.status, accepted.body["status"]) == (202, "assigning")


def test_first_answer_has_no_registration_state(house: DpsHouse) -> None:
    assert "registrationState" not in registered(house).register().body


def test_edge_wants_the_state_in_every_poll(house: DpsHouse) -> None:
    device = registered(house)
    state = device.poll(device.register().body["operationId"]).state
    assert state["registrationId"] == DEVICE
    assert state["status"]


def test_failed_and_disabled_come_as_200(messages: list[Publish]) -> None:
    answers = [Answer.of(message) for message in messages]
    ended = [answer for answer in answers if answer.body.get("status") in ("failed", "disabled")]
    assert {answer.status for answer in ended} == {200}
    assert {answer.body["status"] for answer in ended} == {"failed", "disabled"}


def test_edge_finds_code_and_message_of_a_failure(messages: list[Publish]) -> None:
    (failed,) = [body["registrationState"] for body in bodies(messages) if body.get("status") == "failed"]
    assert isinstance(failed["errorCode"], int)
    assert failed["errorMessage"]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"payload": null, "registrationId": "sensor-001"}'])
def test_bodies_of_csharp_and_python_are_accepted(house: DpsHouse, body: bytes) -> None:
    assert registered(house).register(body).status == 202


@pytest.mark.parametrize("payload", [b"", b" ", b"{}", b"not json", b"\xff"])
def test_body_of_a_poll_is_ignored(house: DpsHouse, payload: bytes) -> None:
    device = registered(house)
    operation_id = device.register().body["operationId"]
    device.publish(f"$dps/registrations/GET/iotdps-get-operationstatus/?$rid=9&operationId={operation_id}", payload)
    assert Answer.of(device.messages[-1]).status == 200


@pytest.mark.parametrize("rid", ["1", "b9a9a8a7-0000-4000-8000-000000000001", "a%20b", "x=y"])
def test_request_id_is_echoed_unchanged(house: DpsHouse, rid: str) -> None:
    device = registered(house)
    device.publish(f"$dps/registrations/PUT/iotdps-register/?$rid={rid}")
    assert device.messages[-1].topic == f"$dps/registrations/res/202/?$rid={rid}&retry-after=3"


@pytest.mark.parametrize("qos", [0, 1])
def test_c_and_java_publish_at_qos_0(house: DpsHouse, qos: int) -> None:
    device = registered(house)
    device.publish("$dps/registrations/PUT/iotdps-register/?$rid=1", qos=qos)
    assert Answer.of(device.messages[-1]).status == 202


def test_lower_case_percent_encoding_of_c_is_accepted(house: DpsHouse) -> None:
    house.add_key_device()
    assert house.connect(password=token_for(GROUP_KEY, slash="%2f")).register().status == 202


def test_wrong_key_is_accepted_at_connect_and_answered_at_register(house: DpsHouse) -> None:
    house.add_key_group()
    assert house.connect(password=token_for(GROUP_KEY)).register().status == 401


def test_p256_requests_of_the_samples_are_signed_by_the_p384_authority(house: DpsHouse) -> None:
    house.add_x509_group(credential_policy_name="default")
    device = house.connect(peer_chain=house.factory.chain(DEVICE))
    assert device.onboard(body_with_csr()).body["status"] == "assigned"


@pytest.mark.parametrize("api_version", [*KNOWN_API_VERSIONS, "2027-01-01"])
def test_every_api_version_that_clients_send_is_served(house: DpsHouse, api_version: str) -> None:
    house.add_key_group()
    device = house.connect(password=group_token(), api_version=api_version)
    assert device.onboard().body["status"] == "assigned"


def test_unified_c_finds_no_profile_but_classic(house: DpsHouse) -> None:
    """Another `connectionProfile` than `classic`, or none, makes it speak MQTT 5 or give up."""
    house.add_key_group()
    state = house.connect(password=group_token(), api_version="2026-11-02-preview").onboard().state
    assert state.get("connectionProfile", "classic") == "classic"


def test_registration_ids_are_compared_in_any_case(house: DpsHouse) -> None:
    house.add_x509_group()
    chain = house.factory.chain("SENSOR-001")
    device = house.connect("sensor-001", client_id="Sensor-001", peer_chain=chain)
    assert device.onboard(b'{"registrationId":"sEnsor-001"}').body["status"] == "assigned"


def test_etag_is_base64_of_a_quoted_text(house: DpsHouse) -> None:
    state = registered(house).onboard().state
    assert re.fullmatch(r'"[^"]+"', base64.b64decode(state["etag"], validate=True).decode())


def test_timestamps_have_seven_digits(house: DpsHouse) -> None:
    device = registered(house)
    device.now = NOW.replace(microsecond=0)
    state = device.onboard().state
    for name in ("createdDateTimeUtc", "lastUpdatedDateTimeUtc"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", state[name])
