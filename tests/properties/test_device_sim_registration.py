import json
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from device_sim.errors import CredentialError, ProvisioningError, UnexpectedResponse
from device_sim.registration import Ask, Message, Registration, RegistrationResult
from device_sim.renewal import Renewal

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=10), children, max_size=3),
    max_leaves=8,
)
members = st.sampled_from([
    "operationId", "status", "registrationState", "assignedHub", "deviceId", "errorCode", "errorMessage", "message",
    "trackingId", "issuedCertificateChain", "substatus", "payload", "certificates", "info",
])  # fmt: skip
statuses = st.sampled_from(["assigning", "assigned", "failed", "disabled", "unassigned"])
states = st.dictionaries(members, json_values | statuses, max_size=6)
bodies = st.one_of(
    st.binary(max_size=40),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(members, json_values | statuses | states, max_size=8).map(lambda value: json.dumps(value).encode()),
)
topic_statuses = st.sampled_from([200, 202, 400, 401, 409, 429, 500])


@given(topic_statuses, bodies)
def test_any_answer_of_dps_is_a_step_or_a_documented_error(status: int, body: bytes) -> None:
    registration = Registration("sensor-001")
    registration.start()
    with suppress(ProvisioningError, UnexpectedResponse):
        step = registration.receive(Message(f"$dps/registrations/res/{status}/?$rid=1", body))
        assert isinstance(step, Ask | RegistrationResult)


@given(topic_statuses, bodies)
def test_any_answer_of_the_hub_is_a_step_or_a_documented_error(status: int, body: bytes) -> None:
    renewal = Renewal("sensor-001", "MII=", "abcd")
    with suppress(CredentialError, UnexpectedResponse):
        chain = renewal.receive(Message(f"$iothub/credentials/res/{status}/?$rid=abcd", body))
        assert chain is None
        assert status == 202


@given(st.lists(st.tuples(topic_statuses, st.sampled_from(["assigning", "assigned", "failed"])), max_size=8))
def test_registration_asks_with_a_new_request_id_until_it_is_finished(answers: list[tuple[int, str]]) -> None:
    registration = Registration("sensor-001")
    topics = [registration.start().topic]
    for status, word in answers:
        body: dict[str, Any] = {"status": word, "operationId": "5.a"}
        body["registrationState"] = {"assignedHub": "h", "deviceId": "d"}
        topic = f"$dps/registrations/res/{status}/?$rid={registration.request_id}"
        try:
            step = registration.receive(Message(topic, json.dumps(body).encode()))
        except ProvisioningError:
            break
        if not isinstance(step, Ask):
            assert word == "assigned"
            break
        topics.append(step.request.topic)
    assert len(set(topics)) == len(topics)
