from datetime import timedelta
from typing import Any

import pytest

from broker.gateway import Action, Close, Drop, Refusal, Withhold
from emulator.faults.message_properties import FaultOperation, FaultOrder, FaultyMessages, parse_fault_order
from tests.unit.conftest import NOW
from tests.unit.test_emulator_faults_gateway import Around


class Edge:
    """A device at a hub that obeys its messages."""

    def __init__(self, house: Any) -> None:
        chain = house.onboard("dev1")
        self.around = Around()
        self.gateway = FaultyMessages(house.hub.gateway, "hub1", self.around)
        self.request = house.request("dev1", peer_chain=chain)
        self.session: Any = self.gateway.connect(self.request, NOW)
        self.gateway.opened(self.session, NOW)

    def send(self, bag: str = "", after: float = 0) -> list[Action]:
        now = NOW + timedelta(seconds=after)
        topic = f"devices/dev1/messages/events/{bag}"
        return self.gateway.receive(self.session, topic, b"", 1, retain=False, dup=False, now=now)

    def ask(self, operation: str, delay: int = 0, duration: int = 0) -> list[Action]:
        return self.send(
            f"AzIoTHub_FaultOperationType={operation}&AzIoTHub_FaultOperationCloseReason=boom"
            f"&AzIoTHub_FaultOperationDelayInSecs={delay}&AzIoTHub_FaultOperationDurationInSecs={duration}"
        )


@pytest.fixture
def edge(house: Any) -> Edge:
    return Edge(house)


@pytest.mark.parametrize(("operation", "action"), [("KillTcp", Drop), ("ShutDownMqtt", Close)])
def test_connection_ends_at_once_or_after_the_delay(edge: Edge, operation: str, action: type[Drop | Close]) -> None:
    end = action(edge.session.key, f"{operation}: boom")
    assert edge.ask(operation) == [end]
    assert edge.ask(operation, delay=3) == []
    assert edge.around.waiting == [(3, [end])]


def test_order_is_told_to_the_process(edge: Edge) -> None:
    edge.ask("InvokeThrottling", delay=2, duration=10)
    edge.ask("KillAmqpConnection")
    assert edge.around.orders == [("hub1", "dev1", "InvokeThrottling in 2 s for 10 s", NOW)]


def test_ordered_end_is_for_the_connection_that_ordered_it(edge: Edge) -> None:
    edge.ask("KillTcp", delay=3)
    edge.ask("KillTcp", delay=4)
    assert len(edge.around.waiting) == 1
    edge.gateway.disconnected(edge.session, NOW, will=None)
    assert edge.around.waiting == []


@pytest.mark.parametrize("operation", ["InvokeThrottling", "InvokeMaxMessageQuota"])
def test_pubacks_stay_away_while_the_fault_lasts(edge: Edge, operation: str) -> None:
    assert edge.ask(operation, delay=2, duration=10) == []
    assert edge.send(after=1) == []
    assert edge.send(after=2) == [Withhold(edge.session.key, 10)]
    assert edge.send(after=9) == [Withhold(edge.session.key, 3)]
    assert edge.send(after=12) == []


def test_authentication_fails_while_the_fault_lasts(edge: Edge) -> None:
    [end] = edge.ask("InvokeAuthError", duration=10)
    assert isinstance(end, Drop)
    refusal = edge.gateway.connect(edge.request, NOW + timedelta(seconds=9))
    assert isinstance(refusal, Refusal)
    assert refusal.return_code == 5
    assert not isinstance(edge.gateway.connect(edge.request, NOW + timedelta(seconds=10)), Refusal)


def test_authentication_fails_only_from_the_end_of_the_delay_on(edge: Edge) -> None:
    edge.ask("InvokeAuthError", delay=5, duration=10)
    assert not isinstance(edge.gateway.connect(edge.request, NOW + timedelta(seconds=4)), Refusal)
    assert isinstance(edge.gateway.connect(edge.request, NOW + timedelta(seconds=5)), Refusal)


def test_message_that_asks_is_an_event_like_any_other(edge: Edge, house: Any) -> None:
    edge.ask("KillTcp")
    events = [each for partition in range(2) for each in house.hub.event_log.read(partition, 0, 10)]
    assert [each.properties["AzIoTHub_FaultOperationType"] for each in events] == ["KillTcp"]


@pytest.mark.parametrize("operation", ["KillAmqpConnection", "ShutDownAmqp", "Nonsense", ""])
def test_fault_of_another_protocol_does_nothing(edge: Edge, operation: str) -> None:
    assert edge.ask(operation) == []


def test_message_of_another_kind_is_not_read(edge: Edge) -> None:
    topic = "$iothub/twin/GET/?$rid=AzIoTHub_Fault"
    assert edge.gateway.receive(edge.session, topic, b"", 1, retain=False, dup=False, now=NOW) == []


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [("5", 5.0), (None, 0.0), ("", 0.0), ("-1", 0.0), ("x", 0.0), ("99999", 3600.0), ("9" * 400, 0.0)],
)
def test_delay_is_a_whole_number_of_seconds_within_an_hour(delay: str | None, seconds: float) -> None:
    properties = {"AzIoTHub_FaultOperationType": "KillTcp", "AzIoTHub_FaultOperationDelayInSecs": delay}
    assert parse_fault_order(properties) == FaultOrder(FaultOperation.KILL_TCP, "", seconds, 0.0)


def test_rest_passes_through(edge: Edge) -> None:
    gateway, session = edge.gateway, edge.session
    assert gateway.may_subscribe(session, "$iothub/twin/res/#")
    assert gateway.subscribed(session, [("$iothub/twin/res/#", 1)], NOW) == []
    assert gateway.unsubscribed(session, ["$iothub/twin/res/#"], NOW) == []
    assert gateway.acknowledged(session, "", NOW) == []
    assert gateway.tick(NOW) == []
    assert gateway.disconnected(session, NOW, will=None) == []
