"""Every kind of fault that strikes at a gateway, on a DPS and a hub in memory."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from broker.gateway import Action, Close, ConnectReturnCode, Drop, Publish, Refusal, Silence, Unanswered, Withhold
from emulator.faults.fault import Fault, FaultKind, Operation, Phase
from emulator.faults.gateway import FaultyGateway
from emulator.faults.plan import FaultPlan, Injected
from emulator.faults.retries import RetryWatch
from emulator.faults.wire import DpsWire, HubWire
from emulator.store import SqliteStore
from tests.doubles.dps_house import DEVICE, NOW, Answer, DpsHouse, body_with_csr, group_token
from tests.unit.conftest import NOW as HUB_NOW
from tests.unit.conftest import csr_for

REGISTER = "$dps/registrations/PUT/iotdps-register/?$rid=1"
RENEW = "$iothub/credentials/POST/issueCertificate/?$rid=77"
TWIN = "$iothub/twin/GET/?$rid=5"


@dataclass
class Around:
    """Keeps what is to happen later until a test lets it."""

    seconds: float = 0.0
    waiting: list[tuple[float, list[Action]]] = field(default_factory=list)
    struck: list[Injected] = field(default_factory=list)
    orders: list[tuple[str, str, str, datetime]] = field(default_factory=list)

    def later(self, seconds: float, actions: Sequence[Action]) -> Callable[[], None]:
        entry = (seconds, list(actions))
        self.waiting.append(entry)
        return lambda: self.waiting.remove(entry)

    def clock(self) -> float:
        return self.seconds

    def injected(self, injected: Injected) -> None:
        self.struck.append(injected)

    def ordered(self, service: str, device_id: str, what: str, now: datetime) -> None:
        self.orders.append((service, device_id, what, now))


class Edge:
    """A connection of one device through a faulty gateway."""

    def __init__(self, inner: Any, wire: Any, request: Any, now: Any) -> None:
        self.plan = FaultPlan({})
        self.around = Around()
        self.retries = RetryWatch(self.around.clock)
        self.gateway = FaultyGateway(inner, "service", wire, plan=self.plan, around=self.around, retries=self.retries)
        self.inner, self.request, self.now = inner, request, now
        self.session: Any = None

    def connect(self) -> Any:
        self.session = self.gateway.connect(self.request, self.now)
        return self.session

    def open(self) -> list[Action]:
        return self.gateway.opened(self.session, self.now)

    def subscribe(self, *names: str) -> list[Action]:
        return self.gateway.subscribed(self.session, [(name, 1) for name in names], self.now)

    def send(self, topic: str, payload: bytes = b"") -> list[Action]:
        return self.gateway.receive(self.session, topic, payload, 1, retain=False, dup=False, now=self.now)

    def set(self, kind: FaultKind, operation: Operation, **members: Any) -> None:
        self.plan.add("it", Fault(kind, (operation,), **members))

    @property
    def key(self) -> str:
        return str(self.session.key)


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    with SqliteStore(":memory:") as store:
        yield store


@pytest.fixture
def dps_house(store: SqliteStore) -> DpsHouse:
    house = DpsHouse(store)
    house.add_key_group(credential_policy_name="default")
    return house


@pytest.fixture
def dps(dps_house: DpsHouse) -> Edge:
    """A device past its SUBACK at DPS."""
    service = dps_house.service
    edge = Edge(service.gateway, DpsWire(service.device_api), dps_house.request(password=group_token()), NOW)
    edge.connect()
    edge.open()
    edge.subscribe("$dps/registrations/res/#")
    return edge


@pytest.fixture
def hub(house: Any) -> Edge:
    """A device past its SUBACK at a hub."""
    chain = house.onboard("dev1")
    edge = Edge(house.hub.gateway, HubWire(house.hub.sessions), house.request("dev1", peer_chain=chain), HUB_NOW)
    edge.connect()
    edge.open()
    edge.subscribe("$iothub/credentials/res/#", "$iothub/twin/res/#")
    return edge


def answer(actions: Sequence[Action]) -> Answer:
    [message] = actions
    assert isinstance(message, Publish)
    return Answer.of(message)


def poll_topic(accepted: Answer) -> str:
    return f"$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId={accepted.body['operationId']}"


def registered(dps_house: DpsHouse) -> bool:
    return dps_house.service.registrations.find(DEVICE) is not None


def renew(edge: Edge) -> list[Action]:
    import base64

    csr = base64.b64encode(csr_for("dev1")).decode()
    return edge.send(RENEW, json.dumps({"id": "dev1", "csr": csr}).encode())


class TestConnect:
    @pytest.mark.parametrize("kind", [FaultKind.THROTTLED, FaultKind.SERVER_ERROR])
    def test_busy_service_answers_that_it_is_not_there(self, hub: Edge, kind: FaultKind) -> None:
        hub.set(kind, Operation.CONNECT)
        refusal = hub.connect()
        assert isinstance(refusal, Refusal)
        assert refusal.return_code is ConnectReturnCode.SERVER_UNAVAILABLE

    def test_cut_before_leaves_no_answer_and_no_session(self, hub: Edge) -> None:
        hub.set(FaultKind.CUT, Operation.CONNECT)
        assert isinstance(hub.connect(), Unanswered)

    @pytest.mark.parametrize(
        ("kind", "members", "action"),
        [
            (FaultKind.CUT, {"phase": Phase.AFTER}, Drop),
            (FaultKind.SILENCE, {}, Silence),
            (FaultKind.DROPPED_ACKNOWLEDGEMENT, {}, Withhold),
            (FaultKind.DELAYED, {"seconds": 2.0}, Withhold),
        ],
    )
    def test_connack_goes_the_way_of_the_connection(
        self, hub: Edge, kind: FaultKind, members: dict[str, Any], action: type[Action]
    ) -> None:
        hub.set(kind, Operation.CONNECT, **members)
        hub.connect()
        [done] = hub.open()
        assert isinstance(done, action)
        assert getattr(done, "seconds", None) == members.get("seconds")
        hub.plan.remove("it")
        hub.connect()
        assert hub.open() == []

    def test_refused_device_meets_no_fault_after_it(self, house: Any) -> None:
        edge = Edge(house.hub.gateway, HubWire(house.hub.sessions), house.request("stranger"), HUB_NOW)
        edge.set(FaultKind.CUT, Operation.CONNECT, phase=Phase.AFTER)
        assert isinstance(edge.connect(), Refusal)
        assert not isinstance(edge.session, Unanswered)


class TestSubscribe:
    def test_suback_is_kept_back_and_the_subscription_holds(self, dps: Edge) -> None:
        dps.session.granted_qos = None
        dps.set(FaultKind.DROPPED_ACKNOWLEDGEMENT, Operation.SUBSCRIBE)
        assert dps.subscribe("$dps/registrations/res/#") == [Withhold(dps.key)]
        assert dps.session.granted_qos == 1

    @pytest.mark.parametrize(("phase", "granted"), [(Phase.BEFORE, None), (Phase.AFTER, 1)])
    def test_cut_before_leaves_no_subscription(self, dps: Edge, phase: Phase, granted: int | None) -> None:
        dps.session.granted_qos = None
        dps.set(FaultKind.CUT, Operation.SUBSCRIBE, phase=phase)
        [action] = dps.subscribe("$dps/registrations/res/#")
        assert isinstance(action, Drop)
        assert dps.session.granted_qos == granted


class TestRegister:
    def test_throttled_registration_is_told_when_to_come_again(self, dps: Edge, dps_house: DpsHouse) -> None:
        dps.set(FaultKind.THROTTLED, Operation.REGISTER, retry_after_seconds=7, limit=1)
        refused = answer(dps.send(REGISTER))
        assert refused.topic == "$dps/registrations/res/429/?$rid=1&retry-after=7"
        assert refused.body["errorCode"] == 429000
        assert not registered(dps_house)
        assert answer(dps.send(REGISTER)).status == 202

    @pytest.mark.parametrize(("phase", "done"), [(Phase.BEFORE, False), (Phase.AFTER, True)])
    @pytest.mark.parametrize("status", [500, 503])
    def test_server_error_comes_before_or_after_the_work(
        self, dps: Edge, dps_house: DpsHouse, phase: Phase, done: bool, status: int
    ) -> None:
        dps.set(FaultKind.SERVER_ERROR, Operation.REGISTER, phase=phase, status=status)
        refused = answer(dps.send(REGISTER))
        assert (refused.status, refused.body["errorCode"]) == (status, status * 1000)
        assert registered(dps_house) is done

    @pytest.mark.parametrize(("kind", "action"), [(FaultKind.CUT, Drop), (FaultKind.SILENCE, Silence)])
    @pytest.mark.parametrize(("phase", "done"), [(Phase.BEFORE, False), (Phase.AFTER, True)])
    def test_connection_breaks_before_or_after_the_work(
        self, dps: Edge, dps_house: DpsHouse, kind: FaultKind, action: type[Action], phase: Phase, done: bool
    ) -> None:
        dps.set(kind, Operation.REGISTER, phase=phase)
        [broken] = dps.send(REGISTER)
        assert isinstance(broken, action)
        assert registered(dps_house) is done

    def test_puback_is_dropped_and_the_answer_comes(self, dps: Edge) -> None:
        dps.set(FaultKind.DROPPED_ACKNOWLEDGEMENT, Operation.REGISTER)
        withheld, message = dps.send(REGISTER)
        assert withheld == Withhold(dps.key)
        assert answer([message]).status == 202

    def test_delayed_answer_waits_with_the_process(self, dps: Edge) -> None:
        dps.set(FaultKind.DELAYED, Operation.REGISTER, seconds=4.0)
        assert dps.send(REGISTER) == []
        [(seconds, actions)] = dps.around.waiting
        assert seconds == 4
        assert answer(actions).status == 202

    def test_what_waits_is_given_up_with_the_connection(self, dps: Edge) -> None:
        dps.set(FaultKind.DELAYED, Operation.REGISTER)
        dps.send(REGISTER)
        dps.gateway.disconnected(dps.session, NOW, will=None)
        assert dps.around.waiting == []

    def test_duplicated_answer_comes_twice(self, dps: Edge) -> None:
        dps.set(FaultKind.DUPLICATED, Operation.REGISTER)
        first, second = dps.send(REGISTER)
        assert first == second

    def test_registration_that_never_completes_stays_assigning(self, dps: Edge, dps_house: DpsHouse) -> None:
        dps.set(FaultKind.NEVER_COMPLETES, Operation.REGISTER, limit=1)
        accepted = answer(dps.send(REGISTER))
        assert accepted.status == 202
        for _ in range(3):
            polled = answer(dps.send(poll_topic(accepted)))
            assert (polled.status, polled.body["status"]) == (202, "assigning")
            assert polled.state == {"registrationId": DEVICE, "status": "assigning"}
        assert not registered(dps_house)

    def test_fault_of_a_poll_strikes_an_operation_that_never_was_too(self, dps: Edge) -> None:
        dps.set(FaultKind.NEVER_COMPLETES, Operation.REGISTER)
        accepted = answer(dps.send(REGISTER))
        dps.set(FaultKind.DUPLICATED, Operation.POLL)
        assert [answer([each]).status for each in dps.send(poll_topic(accepted))] == [202, 202]

    def test_unavailable_hub_fails_the_registration(self, dps: Edge, dps_house: DpsHouse) -> None:
        dps.set(FaultKind.HUB_UNAVAILABLE, Operation.REGISTER)
        accepted = answer(dps.send(REGISTER))
        failed = answer(dps.send(poll_topic(accepted)))
        assert (failed.status, failed.body["status"]) == (200, "failed")
        assert failed.state["errorCode"] == 503001
        assert dps_house.hubs["hub1.example"].registry.get(DEVICE) is None

    def test_unavailable_hub_is_missed_by_those_who_would_be_assigned_to_it(
        self, dps: Edge, dps_house: DpsHouse
    ) -> None:
        dps_house.change_group("keys", iot_hubs=("hub2.example",))
        for service, status in {"hub1": "assigned", "hub2": "failed", "hub*": "failed", "service": "failed"}.items():
            dps.set(FaultKind.HUB_UNAVAILABLE, Operation.REGISTER, service=service)
            accepted = answer(dps.send(REGISTER, body_with_csr()))
            assert answer(dps.send(poll_topic(accepted))).body["status"] == status, service

    def test_hub_of_a_registration_that_would_be_refused_is_not_known(self, dps: Edge, dps_house: DpsHouse) -> None:
        dps_house.change_group("keys", iot_hubs=("nowhere.example",))
        dps.set(FaultKind.HUB_UNAVAILABLE, Operation.REGISTER, service="hub*")
        assert answer(dps.send(REGISTER)).status == 202
        assert dps.around.struck == []

    def test_slow_ca_keeps_the_registration_assigning(self, dps: Edge) -> None:
        dps.set(FaultKind.SLOW_CA, Operation.REGISTER, seconds=10.0)
        accepted = answer(dps.send(REGISTER, body_with_csr()))
        dps.around.seconds = 9.9
        polled = answer(dps.send(poll_topic(accepted)))
        assert (polled.status, polled.state) == (202, {"registrationId": DEVICE, "status": "assigning"})
        dps.around.seconds = 10
        assert answer(dps.send(poll_topic(accepted))).body["status"] == "assigned"

    def test_scope_of_an_enrollment_is_known_at_the_first_registration(self, dps: Edge) -> None:
        dps.set(FaultKind.THROTTLED, Operation.REGISTER, enrollment="ke*", limit=1)
        assert answer(dps.send(REGISTER)).status == 429
        dps.set(FaultKind.THROTTLED, Operation.REGISTER, enrollment="other")
        assert answer(dps.send(REGISTER)).status == 202

    def test_topic_of_nobody_goes_to_the_real_gateway(self, dps: Edge) -> None:
        dps.set(FaultKind.CUT, Operation.REGISTER)
        [close] = dps.send("nowhere")
        assert isinstance(close, Close)

    def test_fault_is_told_with_what_it_struck(self, dps: Edge) -> None:
        dps.set(FaultKind.CUT, Operation.REGISTER)
        dps.send(REGISTER)
        [struck] = dps.around.struck
        assert (struck.occurrence.device_id, struck.occurrence.service, struck.name) == (DEVICE, "service", "it")


class TestRetries:
    def test_device_that_comes_too_early_is_counted(self, dps: Edge) -> None:
        dps.set(FaultKind.THROTTLED, Operation.REGISTER, retry_after_seconds=5)
        dps.send(REGISTER)
        dps.around.seconds = 4.9
        dps.send(REGISTER)
        dps.around.seconds = 9.9 + 1.5
        dps.send(REGISTER)
        found = dps.retries.describe()
        assert (found["told"], found["came"], found["tooEarly"]) == (3, 2, 1)
        assert found["lateSeconds"] == {"p10": -0.1, "p50": 1.5, "p90": 1.5}


class TestHub:
    def test_throttled_renewal_is_told_when_to_come_again(self, hub: Edge) -> None:
        hub.set(FaultKind.THROTTLED, Operation.RENEW, retry_after_seconds=6)
        [refused] = renew(hub)
        assert isinstance(refused, Publish)
        assert refused.topic == "$iothub/credentials/res/429/?$rid=77"
        body = json.loads(refused.payload)
        assert (body["errorCode"], body["retryAfter"]) == (429002, 6)

    def test_renewal_that_never_completes_is_accepted_and_forgotten(self, hub: Edge) -> None:
        hub.set(FaultKind.NEVER_COMPLETES, Operation.RENEW, limit=1)
        [accepted] = renew(hub)
        assert isinstance(accepted, Publish)
        assert accepted.topic == "$iothub/credentials/res/202/?$rid=77"
        assert [each.topic.split("/")[3] for each in renew(hub)] == ["202", "200"]  # type: ignore[union-attr]

    def test_slow_ca_gives_the_certificate_later(self, hub: Edge) -> None:
        hub.set(FaultKind.SLOW_CA, Operation.RENEW, seconds=3.0)
        [accepted] = renew(hub)
        assert isinstance(accepted, Publish)
        assert "/res/202/" in accepted.topic
        [(seconds, [issued])] = hub.around.waiting
        assert seconds == 3
        assert isinstance(issued, Publish)
        assert "/res/200/" in issued.topic

    @pytest.mark.parametrize(("kind", "status"), [(FaultKind.THROTTLED, "429"), (FaultKind.SERVER_ERROR, "500")])
    def test_twin_request_is_refused(self, hub: Edge, kind: FaultKind, status: str) -> None:
        hub.set(kind, Operation.TWIN)
        [refused] = hub.send(TWIN)
        assert isinstance(refused, Publish)
        assert refused.topic == f"$iothub/twin/res/{status}/?$rid=5"

    @pytest.mark.parametrize("kind", [FaultKind.THROTTLED, FaultKind.NEVER_COMPLETES])
    def test_answer_of_a_fault_needs_a_subscription_and_has_its_qos(self, hub: Edge, kind: FaultKind) -> None:
        hub.set(kind, Operation.RENEW)
        for qos in (0, 1):
            hub.gateway.subscribed(hub.session, [("$iothub/credentials/res/#", qos)], HUB_NOW)
            [answered] = renew(hub)
            assert isinstance(answered, Publish)
            assert answered.qos == qos
        hub.gateway.unsubscribed(hub.session, ["$iothub/credentials/res/#", "$iothub/twin/res/#"], HUB_NOW)
        assert renew(hub) == []
        hub.set(FaultKind.THROTTLED, Operation.TWIN)
        assert hub.send(TWIN) == []

    @pytest.mark.parametrize("topic", [TWIN.partition("?")[0], RENEW.partition("?")[0]])
    def test_request_without_an_id_gets_no_refusal(self, hub: Edge, topic: str) -> None:
        hub.set(FaultKind.THROTTLED, Operation.TWIN)
        hub.plan.add("renew", Fault(FaultKind.NEVER_COMPLETES, (Operation.RENEW,)))
        assert hub.send(topic) == []

    def test_throttled_telemetry_gets_no_puback_and_loses_its_connection(self, hub: Edge, house: Any) -> None:
        hub.set(FaultKind.THROTTLED, Operation.TELEMETRY, seconds=4.0)
        assert hub.send("devices/dev1/messages/events/", b"1") == [Withhold(hub.key)]
        [(seconds, [close])] = hub.around.waiting
        assert (seconds, type(close)) == (4, Close)

    def test_delayed_telemetry_is_stored_and_acknowledged_late(self, hub: Edge) -> None:
        hub.set(FaultKind.DELAYED, Operation.TELEMETRY, seconds=2.0)
        assert hub.send("devices/dev1/messages/events/", b"1") == [Withhold(hub.key, 2.0)]

    def test_method_answer_is_an_operation_of_its_own(self, hub: Edge) -> None:
        hub.set(FaultKind.CUT, Operation.METHOD)
        [cut] = hub.send("$iothub/methods/res/200/?$rid=1", b"{}")
        assert isinstance(cut, Drop)

    def test_topic_of_nobody_goes_to_the_real_gateway(self, hub: Edge) -> None:
        [close] = hub.send("$iothub/nothing")
        assert isinstance(close, Close)

    def test_what_no_fault_concerns_passes_through(self, hub: Edge, house: Any) -> None:
        assert hub.gateway.may_subscribe(hub.session, "$iothub/twin/res/#")
        assert hub.gateway.unsubscribed(hub.session, ["$iothub/twin/res/#"], HUB_NOW) == []
        assert hub.gateway.acknowledged(hub.session, "", HUB_NOW) == []
        assert hub.gateway.tick(HUB_NOW) == []
        assert HubWire(house.hub.sessions).enrollment(hub.session, HUB_NOW) == ""
        assert HubWire(house.hub.sessions).hub_for(hub.session, b"", HUB_NOW) == ""
