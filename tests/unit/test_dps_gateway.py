"""The MQTT face: what is refused at CONNECT, what closes, and where an answer goes."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.gateway import Close, Publish, Refusal
from certs.peer import PeerChain
from dps.session import DpsSession
from emulator.store import SqliteStore
from tests.doubles.dps_house import DEVICE, GROUP_KEY, NOW, OTHER_KEY, SCOPE, Answer, DpsHouse, group_token, token_for

ANSWERS = "$dps/registrations/res/#"
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "dps_connects.json").read_text(encoding="utf-8"))


@pytest.fixture
def house() -> Iterator[DpsHouse]:
    with SqliteStore(":memory:") as store:
        yield DpsHouse(store)


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
def test_connect_is_answered_as_the_vector_says(house: DpsHouse, vector: dict[str, Any]) -> None:
    changes = dict(vector["input"])
    if "password" in changes:
        changes["password"] = changes["password"].encode()
    if vector["expect"]["return_code"] == 0:
        house.connect(**changes)
    else:
        refusal = house.refusal(**changes)
        assert refusal.return_code == vector["expect"]["return_code"]
        assert vector["expect"]["reason"] in refusal.reason


def test_client_id_in_another_case_is_accepted(house: DpsHouse) -> None:
    house.connect(client_id="SENSOR-001", password=group_token())


def test_client_id_of_other_letters_is_refused(house: DpsHouse) -> None:
    """The Kelvin sign in lower case is a k."""
    assert house.refusal("kiln-1", client_id="\N{KELVIN SIGN}iln-1").return_code == 5


def test_expired_token_is_refused_at_connect(house: DpsHouse) -> None:
    refusal = house.refusal(password=token_for(GROUP_KEY, expires_at=1))
    assert refusal.return_code == 5
    assert "expired at 1970-01-01T00:00:01+00:00, it is 2026-11-23T10:00:00.123456+00:00" in refusal.reason


def test_token_is_refused_at_connect_from_the_second_it_expires(house: DpsHouse) -> None:
    expires_at = NOW.replace(microsecond=0)
    request = house.request(password=group_token(expires_at=expires_at))
    assert isinstance(house.service.gateway.connect(request, expires_at), Refusal)
    assert isinstance(house.service.gateway.connect(request, expires_at - timedelta(seconds=1)), DpsSession)


def test_session_ends_with_its_token(house: DpsHouse) -> None:
    session = house.connect(password=token_for(GROUP_KEY, expires_at=1795431600)).session
    assert session.expires_at is not None
    assert session.expires_at.timestamp() == 1795431600


def test_session_of_a_certificate_does_not_end(house: DpsHouse) -> None:
    assert house.connect(peer_chain=house.factory.chain(DEVICE)).session.expires_at is None


def test_session_is_never_present(house: DpsHouse) -> None:
    house.connect(clean_session=False)
    assert house.connect(clean_session=False).session.session_present is False


def test_session_key_is_the_same_in_any_case_of_the_id(house: DpsHouse) -> None:
    assert house.connect("Sensor-001").session.key == f"dps/{SCOPE}/sensor-001"
    assert house.connect("Sensor-001").session.device_id == "Sensor-001"


def test_unknown_api_version_is_accepted_and_logged(house: DpsHouse, caplog: pytest.LogCaptureFixture) -> None:
    house.connect(api_version="2031-01-01")
    assert "api-version 2031-01-01 is not known" in caplog.text


@pytest.mark.parametrize("topic_filter", ["#", "$dps/#", "$dps/registrations/res/+", "devices/x", "$iothub/twin/res/#"])
def test_other_filters_may_not_be_subscribed(house: DpsHouse, topic_filter: str) -> None:
    session = house.connect().session
    assert house.service.gateway.may_subscribe(session, ANSWERS)
    assert not house.service.gateway.may_subscribe(session, topic_filter)


@pytest.mark.parametrize("qos", [0, 1])
def test_answers_go_out_at_the_granted_qos(house: DpsHouse, qos: int) -> None:
    device = house.connect()
    device.subscribe(qos)
    assert device.register().qos == qos


def test_device_without_subscription_gets_no_answer(house: DpsHouse, caplog: pytest.LogCaptureFixture) -> None:
    house.add_key_group()
    device = house.connect(password=group_token())
    house.service.gateway.unsubscribed(device.session, ["something/else"], NOW)
    device.register()
    house.service.gateway.unsubscribed(device.session, [ANSWERS], NOW)
    device.publish("$dps/registrations/PUT/iotdps-register/?$rid=2")
    assert len(device.messages) == 1
    assert "device sensor-001: not subscribed" in caplog.text


@pytest.mark.parametrize(
    "topic",
    [
        "devices/sensor-001/messages/events/",
        "$dps/registrations/res/200/?$rid=1",
        "$dps/registrations/PUT/iotdps-register/",
        "$dps/registrations/PUT/iotdps-register/?$rid=",
        "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1",
        "$iothub/twin/GET/?$rid=1",
    ],
)
def test_other_topics_close_the_connection(house: DpsHouse, topic: str) -> None:
    device = house.connect()
    device.publish(topic)
    assert device.closed is not None
    assert device.closed.startswith("device sensor-001: ")
    assert device.messages == []


def test_qos_2_closes_the_connection(house: DpsHouse) -> None:
    device = house.connect()
    device.publish("$dps/registrations/PUT/iotdps-register/?$rid=1", qos=2)
    assert device.closed == "device sensor-001: QoS 2 is not supported"


def test_refused_register_leaves_the_connection_open(house: DpsHouse) -> None:
    device = house.connect()
    assert device.register().status == 401
    assert device.closed is None
    assert device.register().status == 401


def test_every_answer_rests_on_the_credentials_of_its_own_connection(house: DpsHouse) -> None:
    house.add_key_group()
    operation_id = house.connect(password=group_token()).register().body["operationId"]
    impostor = house.connect(password=token_for(OTHER_KEY))
    assert impostor.poll(operation_id).body["errorCode"] == 401000


def test_register_is_authenticated_each_time(house: DpsHouse) -> None:
    house.add_key_group()
    device = house.connect(password=group_token())
    operation_id = device.register().body["operationId"]
    house.service.enrollments.groups.delete("keys")
    assert device.poll(operation_id).status == 200
    assert device.register().status == 401
    assert device.poll(operation_id).status == 401


def test_log_says_why_and_under_which_tracking_id(house: DpsHouse, caplog: pytest.LogCaptureFixture) -> None:
    house.add_key_device()
    answer = house.connect(password=token_for("AAAAAAAAAAAAAAAAAAAAAA==")).register()
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.name == "dps"
    assert answer.body["trackingId"] in record.message
    assert "device sensor-001: answered 401000" in record.message
    assert "signed by neither key of individual enrollment 'sensor-001'" in record.message


def test_log_never_holds_a_key_or_a_signature(house: DpsHouse, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    house.add_key_group()
    token = group_token()
    house.connect(password=token).onboard()
    wrong = token_for("AAAAAAAAAAAAAAAAAAAAAA==")
    house.connect(password=wrong).register()
    signatures = [text.split(b"sig=")[1].split(b"&")[0].decode() for text in (token, wrong)]
    for secret in (GROUP_KEY, OTHER_KEY, *signatures):
        assert secret not in caplog.text


@pytest.mark.parametrize("password", [b"\xff\xfe", b"open sesame", b"SharedAccessSignature sr=x&sig=y"])
def test_password_that_is_no_token_is_answered_at_register(house: DpsHouse, password: bytes) -> None:
    house.add_key_group()
    assert house.connect(password=password).register().body["errorCode"] == 401000


def test_empty_password_leaves_the_certificate_to_speak(house: DpsHouse) -> None:
    house.add_x509_group()
    device = house.connect(password=b"", peer_chain=house.factory.chain(DEVICE))
    assert device.register().status == 202


def test_acknowledgement_and_disconnect_change_nothing(house: DpsHouse) -> None:
    device = house.connect()
    assert house.service.gateway.acknowledged(device.session, "token", NOW) == []
    assert house.service.gateway.disconnected(device.session, NOW, will=None) == []


def test_tick_expires_operations(house: DpsHouse) -> None:
    house.add_key_group()
    device = house.connect(password=group_token())
    operation_id = device.register().body["operationId"]
    house.tick(NOW + timedelta(minutes=15))
    assert device.poll(operation_id).status == 200
    house.tick(NOW + timedelta(minutes=15, microseconds=1))
    assert device.poll(operation_id).body["errorCode"] == 404204


def test_actions_name_the_session_they_are_for(house: DpsHouse) -> None:
    session = house.connect(peer_chain=PeerChain()).session
    (action,) = house.service.gateway.receive(
        session, "$dps/registrations/PUT/iotdps-register/?$rid=7", b"", 1, retain=False, dup=True, now=NOW
    )
    assert isinstance(action, Publish)
    assert (action.session_key, action.token) == (session.key, "")
    assert Answer.of(action).topic == "$dps/registrations/res/401/?$rid=7"
    (action,) = house.service.gateway.receive(session, "x", b"", 0, retain=True, dup=False, now=NOW)
    assert action == Close(session.key, "device sensor-001: 'x' is not a topic of DPS")


def test_answer_is_not_given_for_the_state_of_another_scope(house: DpsHouse) -> None:
    house.add_key_group()
    other = replace(house.settings, id_scope="0ne00FFFFFF")
    operation_id = house.connect(password=group_token()).register().body["operationId"]
    house.settings = other
    service = house.restarted()
    assert service.registrations.find(DEVICE) is None
    assert service.enrollments.groups.find("keys") is None
    assert operation_id.startswith("5.")
