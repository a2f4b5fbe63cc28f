import json
from pathlib import Path
from typing import Any

import pytest

from certs.csr import decode_csr, parse_csr
from certs.keys import KeyType, generate_key
from device_sim import errors
from device_sim.errors import ProvisioningError
from device_sim.registration import Ask, Assignment, Message, Registration, RegistrationResult, RegistrationState
from device_sim.signing_request import format_signing_request

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "device_sim_registration.json").read_text())


def cases(key: str) -> list[Any]:
    return [pytest.param(vector, id=vector["id"]) for vector in VECTORS if key in vector["expect"]]


def answer(vector: dict[str, Any]) -> Message:
    return Message(vector["input"]["topic"], vector["input"]["payload"].encode())


def started() -> Registration:
    registration = Registration("sensor-001")
    registration.start()
    return registration


@pytest.mark.parametrize("vector", cases("operation_id"))
def test_answer_that_is_not_final_leads_to_a_question_about_the_operation(vector: dict[str, Any]) -> None:
    registration = started()
    topic = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId=" + vector["expect"]["operation_id"]
    assert registration.receive(answer(vector)) == Ask(vector["expect"]["ask_after_seconds"], Message(topic, b""))
    assert registration.state is RegistrationState.ASSIGNING


@pytest.mark.parametrize("vector", cases("registers_again"))
def test_throttled_registration_is_sent_again(vector: dict[str, Any]) -> None:
    registration = started()
    ask = registration.receive(answer(vector))
    assert isinstance(ask, Ask)
    assert ask.after_seconds == vector["expect"]["ask_after_seconds"]
    assert ask.request.topic == "$dps/registrations/PUT/iotdps-register/?$rid=2"


@pytest.mark.parametrize("vector", cases("hub"))
def test_assigned_is_the_end(vector: dict[str, Any]) -> None:
    registration = started()
    expect = vector["expect"]
    assignment = Assignment(expect["hub"], expect["device_id"])
    assert registration.receive(answer(vector)) == RegistrationResult(
        assignment, expect["substatus"], (), expect["payload"]
    )
    assert registration.receive(answer(vector)) is None


@pytest.mark.parametrize("vector", cases("ignored"))
def test_answer_to_another_request_changes_nothing(vector: dict[str, Any]) -> None:
    registration = started()
    assert registration.receive(answer(vector)) is None
    assert registration.state is RegistrationState.REGISTERING


@pytest.mark.parametrize("vector", cases("error"))
def test_refusal_is_raised_with_its_code_and_message(vector: dict[str, Any]) -> None:
    expect = vector["expect"]
    with pytest.raises(getattr(errors, expect["error"])) as refused:
        started().receive(answer(vector))
    if "error_code" in expect:
        assert (refused.value.error_code, refused.value.message) == (expect["error_code"], expect["message"])


def test_throttled_question_is_asked_again() -> None:
    registration = started()
    registration.receive(
        Message("$dps/registrations/res/202/?$rid=1", b'{"status": "assigning", "operationId": "5.a"}')
    )
    ask = registration.receive(Message("$dps/registrations/res/429/?$rid=2&retry-after=9", b""))
    assert ask == Ask(9, Message("$dps/registrations/GET/iotdps-get-operationstatus/?$rid=3&operationId=5.a", b""))


def test_registration_body_holds_what_was_given() -> None:
    plain = Registration("sensor-001").start()
    assert json.loads(plain.payload) == {"registrationId": "sensor-001"}
    full = Registration("sensor-001", csr="MII=", payload={}).start()
    assert json.loads(full.payload) == {"registrationId": "sensor-001", "csr": "MII=", "payload": {}}


def test_reason_of_a_refusal_is_its_kind_and_code() -> None:
    assert ProvisioningError(401, 401002, "Invalid certificate.", "t").reason == "ProvisioningError 401002"
    assert "tracking ID t" in str(ProvisioningError(401, 401002, "Invalid certificate.", "t"))


@pytest.mark.parametrize("key_type", [KeyType.P256, KeyType.P384, KeyType.RSA2048], ids=lambda key_type: key_type.value)
def test_signing_request_meets_the_rules_of_the_service(key_type: KeyType) -> None:
    key = generate_key(key_type)
    request = parse_csr(decode_csr(format_signing_request("sensor-001", key)), "sensor-001")
    assert request.public_key == key.public_key()
