"""Certificate renewal: the scenarios of the service's own test run, and what they leave open."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from adr.audit import LIFECYCLE, REFUSALS, AuditKind
from broker.gateway import Publish
from certs.keys import KeyType, generate_key
from hub.sas import format_sas_token

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "hub_credentials.json").read_text(encoding="utf-8"))
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DELAY = timedelta(seconds=5)
ANSWERS = "$iothub/credentials/res/#"
DEVICE = "sensor-001"


def topic(rid: str | None) -> str:
    return "$iothub/credentials/POST/issueCertificate/" + ("" if rid is None else f"?$rid={rid}")


def body_of(csr: bytes, **changes: Any) -> bytes:
    return json.dumps({"id": DEVICE, "csr": base64.b64encode(csr).decode(), **changes}).encode()


def answers(received: list[Publish]) -> list[tuple[int, str]]:
    return [(int(message.topic.split("/")[3]), message.topic.partition("$rid=")[2]) for message in received]


class Scenario:
    """Plays the steps of a vector and keeps what the device received over all its connections."""

    def __init__(self, house: Any, csr: bytes) -> None:
        self.house = house
        self.csr = csr
        self.chain = house.onboard(DEVICE)
        self.received: list[Publish] = []

    def connect(self, clean: bool, now: Any = None) -> None:
        moment = {} if now is None else {"now": now}
        self.device = self.house.connect(DEVICE, clean_session=clean, peer_chain=self.chain, **moment)
        self.device.received = self.received = [*self.received, *self.device.received]

    def play(self, step: dict[str, Any]) -> None:
        match step["do"]:
            case "subscribe":
                self.device.subscribe(ANSWERS)
            case "unsubscribe":
                self.device.unsubscribe(ANSWERS)
            case "publish":
                self.device.publish(topic(step["rid"]), self.payload(step))
            case "issue":
                self.device.tick(DELAY)
            case "disconnect":
                self.device.disconnect()
            case "reconnect":
                if self.device.closed is None:
                    self.device.disconnect()
                self.connect(step["clean"], self.device.now)

    def payload(self, step: dict[str, Any]) -> bytes:
        if "text" in step:
            return str(step["text"]).encode()
        body = dict(step["body"])
        known = {"$csr": base64.b64encode(self.csr).decode(), "$10KB": "A" * 10240}
        body["csr"] = known.get(body["csr"], body["csr"])
        return json.dumps(body).encode()


@pytest.mark.parametrize("vector", [pytest.param(vector, id=vector["id"]) for vector in VECTORS])
def test_scenario_of_the_service_run(vector: dict[str, Any], make_house: Any, make_csr: Callable[..., bytes]) -> None:
    scenario = Scenario(make_house(issuing_delay=DELAY), make_csr(DEVICE))
    scenario.connect(vector["input"]["clean"])
    for step in vector["input"]["steps"]:
        scenario.play(step)
    expected = vector["expect"]
    assert answers(scenario.received) == [(answer["status"], answer["rid"]) for answer in expected]
    assert scenario.device.closed in (None, "disconnected")
    for message, answer in zip(scenario.received, expected, strict=True):
        assert_body(json.loads(message.payload), answer)
    assert_one_correlation_id_per_request(scenario.received)


def assert_body(body: dict[str, Any], answer: dict[str, Any]) -> None:
    if answer["status"] == 202:
        assert set(body) == {"correlationId", "operationExpires"}
    elif answer["status"] == 200:
        assert set(body) == {"correlationId", "certificates"}
        assert_chain(body["certificates"])
    else:
        assert set(body) == {"errorCode", "message", "trackingId", "timestampUtc", "info"}
        assert body["errorCode"] == answer["errorCode"]
        assert body["message"].startswith(answer["message"])
        assert_info(body["info"], answer["info"])


def assert_chain(certificates: list[str]) -> None:
    leaf, issuing_ca, root = (x509.load_der_x509_certificate(base64.b64decode(text)) for text in certificates)
    leaf.verify_directly_issued_by(issuing_ca)
    issuing_ca.verify_directly_issued_by(root)
    assert leaf.subject.rfc4514_string() == f"CN={DEVICE}"


def assert_info(info: dict[str, str] | None, expected: dict[str, str] | None) -> None:
    assert (info is None) is (expected is None)
    if info is not None and expected is not None:
        assert expected.items() <= info.items()
        assert all(isinstance(value, str) for value in info.values())


def assert_one_correlation_id_per_request(received: list[Publish]) -> None:
    ids: dict[str, set[str]] = {}
    for message in received:
        body = json.loads(message.payload)
        if "correlationId" in body:
            ids.setdefault(message.topic.partition("$rid=")[2], set()).add(body["correlationId"])
    assert all(len(found) == 1 for found in ids.values())
    assert len(set().union(*ids.values())) == len(ids)


@pytest.fixture
def device(house: Any) -> Any:
    """A connected device that subscribes to the answers of a hub that issues at once."""
    device = house.connect(DEVICE, clean_session=False, peer_chain=house.onboard(DEVICE))
    device.subscribe(ANSWERS)
    return device


def test_without_a_delay_both_answers_come_from_the_same_call(device: Any, make_csr: Callable[..., bytes]) -> None:
    device.publish(topic("abcd-1"), body_of(make_csr(DEVICE)))
    assert answers(device.received) == [(202, "abcd-1"), (200, "abcd-1")]


def test_the_result_alone_carries_a_token_and_goes_out_at_the_granted_qos(
    device: Any, make_csr: Callable[..., bytes]
) -> None:
    device.publish(topic("abcd-1"), body_of(make_csr(DEVICE)))
    accepted, result = device.received
    assert (accepted.token, accepted.qos) == ("", 1)
    assert (result.token, result.qos) == (json.loads(result.payload)["correlationId"], 1)
    device.subscribe(ANSWERS, qos=0)
    device.publish(topic("abcd-2"), body_of(make_csr(DEVICE)))
    assert [message.qos for message in device.received[2:]] == [0, 0]


def test_the_renewed_certificate_connects_and_the_old_one_still_does(
    house: Any, make_csr: Callable[..., bytes]
) -> None:
    old = house.onboard(DEVICE)
    device = house.connect(DEVICE, peer_chain=old)
    device.subscribe(ANSWERS)
    device.publish(topic("abcd-1"), body_of(make_csr(DEVICE)))
    certificates = json.loads(device.received[1].payload)["certificates"]
    new = type(old)(tuple(base64.b64decode(text) for text in certificates[:2]))
    assert new.der[0] != old.der[0]
    house.connect(DEVICE, peer_chain=new)
    house.connect(DEVICE, peer_chain=old)
    assert device.closed is None


def test_an_unacknowledged_result_is_delivered_again_and_an_acknowledged_one_is_not(
    house: Any, make_csr: Callable[..., bytes]
) -> None:
    chain = house.onboard(DEVICE)
    first = house.connect(DEVICE, clean_session=False, peer_chain=chain, silent=True)
    first.subscribe(ANSWERS)
    first.publish(topic("abcd-1"), body_of(make_csr(DEVICE)))
    first.disconnect()
    second = house.connect(DEVICE, clean_session=False, peer_chain=chain)
    assert second.received == first.received[1:]
    second.disconnect()
    assert house.connect(DEVICE, clean_session=False, peer_chain=chain).received == []


def test_a_resumed_session_that_subscribes_again_gets_the_result_once(
    make_house: Any, make_csr: Callable[..., bytes]
) -> None:
    """SDKs that resume a session send SUBSCRIBE with their CONNECT, before the PUBACK of what the session brings."""
    house = make_house(issuing_delay=DELAY)
    chain = house.onboard(DEVICE)
    first = house.connect(DEVICE, clean_session=False, peer_chain=chain)
    first.subscribe(ANSWERS)
    first.publish(topic("abcd-1"), body_of(make_csr(DEVICE)))
    first.disconnect()
    first.tick(DELAY)
    second = house.connect(DEVICE, clean_session=False, peer_chain=chain, silent=True)
    second.subscribe(ANSWERS)
    second.unsubscribe(ANSWERS)
    second.subscribe(ANSWERS)
    assert answers(second.received) == [(200, "abcd-1")]
    second.disconnect()
    third = house.connect(DEVICE, clean_session=True, peer_chain=chain)
    assert third.received == []
    third.subscribe(ANSWERS)
    assert answers(third.received) == [(200, "abcd-1")]


def test_acknowledging_an_earlier_result_does_not_drop_the_next_one(house: Any, make_csr: Callable[..., bytes]) -> None:
    """A client may publish its next request before the PUBACK of the last result."""
    chain = house.onboard(DEVICE)
    device = house.connect(DEVICE, clean_session=False, peer_chain=chain, silent=True)
    device.subscribe(ANSWERS)
    device.publish(topic("abcd-1"), body_of(make_csr(DEVICE)))
    device.publish(topic("abcd-2"), body_of(make_csr(DEVICE)))
    assert answers(device.received) == [(202, "abcd-1"), (200, "abcd-1"), (202, "abcd-2"), (200, "abcd-2")]
    device.acknowledge(device.received[1])
    device.disconnect()
    again = house.connect(DEVICE, clean_session=False, peer_chain=chain)
    assert answers(again.received) == [(200, "abcd-2")]
    again.disconnect()
    assert house.connect(DEVICE, clean_session=False, peer_chain=chain).received == []


def test_acknowledging_a_pending_request_does_nothing(make_house: Any, make_csr: Callable[..., bytes]) -> None:
    scenario = Scenario(make_house(issuing_delay=DELAY), make_csr(DEVICE))
    scenario.connect(clean=True)
    scenario.device.subscribe(ANSWERS)
    scenario.device.publish(topic("abcd-1"), body_of(scenario.csr))
    token = json.loads(scenario.received[0].payload)["correlationId"]
    scenario.house.hub.gateway.acknowledged(scenario.device.session, token, scenario.device.now)
    scenario.device.tick(DELAY)
    assert answers(scenario.received) == [(202, "abcd-1"), (200, "abcd-1")]


def test_a_result_nobody_fetches_is_forgotten_after_twelve_hours(house: Any, make_csr: Callable[..., bytes]) -> None:
    chain = house.onboard(DEVICE)
    device = house.connect(DEVICE, clean_session=False, peer_chain=chain, silent=True)
    device.subscribe(ANSWERS)
    device.publish(topic("abcd-1"), body_of(make_csr(DEVICE)))
    expires = json.loads(device.received[0].payload)["operationExpires"]
    assert expires == "2026-11-24T00:00:00.000000000Z"
    device.tick(timedelta(hours=12) - timedelta(seconds=1))
    device.disconnect()
    later = house.connect(DEVICE, clean_session=False, peer_chain=chain, silent=True, now=device.now)
    assert answers(later.received) == [(200, "abcd-1")]
    later.tick(timedelta(seconds=1))
    later.disconnect()
    assert house.connect(DEVICE, clean_session=False, peer_chain=chain, now=later.now).received == []
    assert house.store.list("hub1.credentials") == house.store.list("hub1.credential-deadlines") == []


def test_a_pending_request_expires_unissued_and_no_longer_conflicts(
    make_house: Any, make_csr: Callable[..., bytes]
) -> None:
    house = make_house(issuing_delay=timedelta(hours=13))
    device = house.connect(DEVICE, peer_chain=house.onboard(DEVICE))
    device.subscribe(ANSWERS)
    device.publish(topic("abcd-1"), body_of(make_csr(DEVICE)))
    device.now += timedelta(hours=12)
    device.publish(topic("abcd-2"), body_of(make_csr(DEVICE)))
    device.tick(timedelta(hours=12))
    device.tick(timedelta(hours=12))
    assert answers(device.received) == [(202, "abcd-1"), (202, "abcd-2")]


def test_deleting_the_device_forgets_its_request(make_house: Any, make_csr: Callable[..., bytes]) -> None:
    house = make_house(issuing_delay=DELAY)
    device = house.connect(DEVICE, peer_chain=house.onboard(DEVICE))
    device.subscribe(ANSWERS)
    device.publish(topic("abcd-1"), body_of(make_csr(DEVICE)))
    house.hub.registry.delete(DEVICE)
    device.tick(DELAY)
    assert answers(device.received) == [(202, "abcd-1")]
    assert house.store.list("hub1.credential-deadlines") == []


def only_error(device: Any) -> dict[str, Any]:
    (message,) = device.received
    return dict(json.loads(message.payload))


def test_a_hub_without_a_namespace_has_no_certificate_management(
    make_house: Any, make_csr: Callable[..., bytes]
) -> None:
    house = make_house(namespace=None)
    house.register(DEVICE)
    device = house.connect(DEVICE, password=sas_password(house))
    device.subscribe(ANSWERS)
    device.publish(topic("abcd-1"), body_of(make_csr(DEVICE)))
    assert only_error(device)["errorCode"] == 403010


def sas_password(house: Any) -> bytes:
    key = house.hub.registry.get(DEVICE).authentication.primary_key
    return format_sas_token(f"hub1.example%2Fdevices%2F{DEVICE}", key, 1900000000).encode()


@pytest.mark.parametrize("case", ["not in the namespace", "without a policy", "disabled"])
def test_a_device_nobody_issues_for_is_told_so_at_once(case: str, house: Any, make_csr: Callable[..., bytes]) -> None:
    house.register(DEVICE)
    if case == "without a policy":
        house.adr.register_device("factory", DEVICE, None, NOW)
    if case == "disabled":
        house.adr.register_device("factory", DEVICE, "default", NOW)
        house.adr.revoke_device("factory", DEVICE, NOW, disable=True)
    device = house.connect(DEVICE, password=sas_password(house))
    device.subscribe(ANSWERS)
    device.publish(topic("abcd-1"), body_of(make_csr(DEVICE)))
    assert only_error(device)["errorCode"] == 412005
    assert DEVICE in only_error(device)["message"]


def test_an_issuer_that_cannot_sign_is_a_server_error_after_202(
    make_house: Any, make_csr: Callable[..., bytes]
) -> None:
    """The device is disabled between the two answers."""
    house = make_house(issuing_delay=DELAY)
    device = house.connect(DEVICE, peer_chain=house.onboard(DEVICE))
    device.subscribe(ANSWERS)
    device.publish(topic("abcd-1"), body_of(make_csr(DEVICE)))
    house.adr.revoke_device("factory", DEVICE, NOW, disable=True)
    device.tick(DELAY)
    assert answers(device.received) == [(202, "abcd-1"), (500, "abcd-1")]
    body = json.loads(device.received[1].payload)
    assert body["errorCode"] == 500001
    assert body["info"]["requestId"] == "abcd-1"


def test_a_csr_for_another_common_name_is_refused_with_the_reason(device: Any, make_csr: Callable[..., bytes]) -> None:
    device.publish(topic("abcd-1"), body_of(make_csr("sensor-002")))
    assert answers(device.received) == [(202, "abcd-1"), (400, "abcd-1")]
    assert "sensor-002" in json.loads(device.received[1].payload)["message"]


def test_replace_of_another_request_than_the_pending_one_is_refused(
    make_house: Any, make_csr: Callable[..., bytes]
) -> None:
    scenario = Scenario(make_house(issuing_delay=DELAY), make_csr(DEVICE))
    scenario.connect(clean=True)
    scenario.device.subscribe(ANSWERS)
    scenario.device.publish(topic("abcd-1"), body_of(scenario.csr))
    scenario.device.publish(topic("abcd-2"), body_of(scenario.csr, replace="abcd-9"))
    scenario.device.tick(DELAY)
    assert answers(scenario.received) == [(202, "abcd-1"), (412, "abcd-2"), (200, "abcd-1")]


@pytest.mark.parametrize(("strict", "status"), [(False, 200), (True, 400)])
def test_rsa_key_is_refused_only_when_strict(
    strict: bool, status: int, make_house: Any, make_csr: Callable[..., bytes]
) -> None:
    house = make_house(strict=strict)
    device = house.connect(DEVICE, peer_chain=house.onboard(DEVICE))
    device.subscribe(ANSWERS)
    device.publish(topic("abcd-1"), body_of(make_csr(DEVICE, generate_key(KeyType.RSA2048))))
    assert answers(device.received) == [(202, "abcd-1"), (status, "abcd-1")]


def test_strict_refuses_an_older_api_version(make_house: Any, make_csr: Callable[..., bytes]) -> None:
    house = make_house(strict=True)
    chain = house.onboard(DEVICE)
    old = house.connect(DEVICE, peer_chain=chain, user_name=f"hub1.example/{DEVICE}/?api-version=2021-04-12")
    old.subscribe(ANSWERS)
    old.publish(topic("abcd-1"), body_of(make_csr(DEVICE)))
    assert only_error(old)["errorCode"] == 400001
    new = house.connect(DEVICE, peer_chain=chain)
    new.subscribe(ANSWERS)
    new.publish(topic("abcd-2"), body_of(make_csr(DEVICE)))
    assert answers(new.received) == [(202, "abcd-2"), (200, "abcd-2")]


def test_the_bare_array_is_an_option(make_house: Any, make_csr: Callable[..., bytes]) -> None:
    house = make_house(bare_certificate_array=True)
    device = house.connect(DEVICE, peer_chain=house.onboard(DEVICE))
    device.subscribe(ANSWERS)
    device.publish(topic("abcd-1"), body_of(make_csr(DEVICE)))
    assert_chain(json.loads(device.received[1].payload))


def test_renewal_and_refusals_are_events(house: Any, make_csr: Callable[..., bytes]) -> None:
    device = house.connect(DEVICE, peer_chain=house.onboard(DEVICE))
    device.subscribe(ANSWERS)
    device.publish(topic("first"), body_of(make_csr(DEVICE)))
    device.publish(topic("second"), b"")
    device.publish(topic("third"), body_of(make_csr("another")))
    ((_, renewed),) = house.adr.audit.read(LIFECYCLE)
    assert (renewed.kind, renewed.service, renewed.device_id) == (AuditKind.RENEWED, "hub1", DEVICE)
    leaf = x509.load_der_x509_certificate(base64.b64decode(json.loads(device.received[1].payload)["certificates"][0]))
    assert renewed.serial_number == f"{leaf.serial_number:x}"
    refused = [event for _, event in house.adr.audit.read(REFUSALS)]
    assert [(each.kind, each.service, each.device_id) for each in refused] == [(AuditKind.REFUSED, "hub1", DEVICE)] * 2
    assert refused[0].reason.startswith("certificate request second: 400: ")
    assert refused[1].reason.startswith("certificate request third: 400: ")
