import json

import pytest

from device_sim.errors import CredentialError, UnexpectedResponse
from device_sim.registration import Message
from device_sim.renewal import Renewal, RenewalState

TOPIC = "$iothub/credentials/res/{}/?$rid=abcd-1"
ACCEPTED = Message(TOPIC.format(202), b'{"correlationId": "c", "operationExpires": "2026-11-23T22:00:00.5Z"}')


def renewal(*, replace: str = "") -> Renewal:
    return Renewal("sensor-001", "MII=", "abcd-1", replace=replace)


def test_request_names_the_device_and_nothing_it_need_not() -> None:
    request = renewal().start()
    assert request.topic == "$iothub/credentials/POST/issueCertificate/?$rid=abcd-1"
    assert json.loads(request.payload) == {"id": "sensor-001", "csr": "MII="}


def test_request_may_replace_another() -> None:
    assert json.loads(renewal(replace="*").start().payload)["replace"] == "*"


def test_accepted_is_not_the_end() -> None:
    machine = renewal()
    assert machine.receive(ACCEPTED) is None
    assert machine.state is RenewalState.ACCEPTED


def test_answer_to_another_request_is_ignored() -> None:
    machine = renewal()
    assert machine.receive(Message("$iothub/credentials/res/200/?$rid=other", b"nonsense")) is None
    assert machine.state is RenewalState.REQUESTED


@pytest.mark.parametrize("accepted_first", [False, True], ids=["at once", "after 202"])
def test_refusal_carries_code_message_and_info(accepted_first: bool) -> None:
    machine = renewal()
    if accepted_first:
        machine.receive(ACCEPTED)
    body = {"errorCode": 409004, "message": "active", "trackingId": "t", "info": {"requestId": "r", "n": 1}}
    with pytest.raises(CredentialError) as refused:
        machine.receive(Message(TOPIC.format(409), json.dumps(body).encode()))
    assert (refused.value.status, refused.value.error_code, refused.value.message) == (409, 409004, "active")
    assert refused.value.info == {"requestId": "r", "n": "1"}
    assert machine.receive(ACCEPTED) is None


def test_refusal_without_info_is_read() -> None:
    with pytest.raises(CredentialError, match="503000"):
        renewal().receive(Message(TOPIC.format(503), b'{"info": null}'))


@pytest.mark.parametrize("body", [b"{}", b'{"certificates": []}', b'{"certificates": ["MII="]}', b"[]", b""], ids=ascii)
def test_success_without_a_readable_chain_is_refused(body: bytes) -> None:
    with pytest.raises(UnexpectedResponse):
        renewal().receive(Message(TOPIC.format(200), body))
