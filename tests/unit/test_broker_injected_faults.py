"""What a gateway may have happen to a connection besides answers: cuts, silence, acknowledgements kept back."""

import asyncio

from broker.gateway import (
    Action,
    ConnectRequest,
    ConnectReturnCode,
    Drop,
    Refusal,
    Session,
    Silence,
    Unanswered,
    Withhold,
)
from broker.packets import Pingreq, Puback, Publish, Suback, Subscribe
from tests.doubles.front import CONNECT_TURNS, Front, connect_packet
from tests.doubles.gateway import StubGateway

KEY = "hub/dev1"
TELEMETRY = Publish("devices/dev1", b"21.5", qos=1, packet_id=1)
SUBSCRIBE = Subscribe(1, (("some/#", 1),))


def answering(front: Front, *actions: Action) -> None:
    front.gateway.on_receive = lambda session, topic, payload: list(actions)


async def test_withheld_puback_never_leaves_and_the_connection_goes_on() -> None:
    front = Front()
    client = await front.connect("dev1")
    answering(front, Withhold(KEY))
    assert await client.exchange(TELEMETRY) == []
    answering(front)
    assert await client.exchange(Publish("devices/dev1", b"", qos=1, packet_id=2)) == [Puback(2)]


async def test_delayed_puback_leaves_late() -> None:
    front = Front()
    client = await front.connect("dev1")
    answering(front, Withhold(KEY, 0.01))
    assert await client.exchange(TELEMETRY) == []
    await asyncio.sleep(0.03)
    await client.settle()
    assert client.transport.packets() == [Puback(1)]


async def test_withholding_of_another_session_keeps_nothing_back() -> None:
    front = Front()
    client = await front.connect("dev1")
    answering(front, Withhold("hub/dev2"))
    assert await client.exchange(TELEMETRY) == [Puback(1)]


async def test_dropped_connection_ends_without_a_puback() -> None:
    front = Front()
    client = await front.connect("dev1")
    answering(front, Drop(KEY, "cut"))
    assert await client.exchange(TELEMETRY, turns=4) == []
    assert client.transport.aborted
    assert len(front.gateway.named("disconnected")) == 1


async def test_silent_connection_stays_open_and_answers_nothing() -> None:
    front = Front()
    client = await front.connect("dev1", keep_alive_seconds=10)
    answering(front, Silence(KEY, "route lost"))
    assert await client.exchange(TELEMETRY, Pingreq(), turns=4) == []
    assert await client.exchange(Pingreq(), TELEMETRY, turns=4) == []
    front.silence(3600)
    assert not client.transport.closed
    assert len(front.gateway.named("receive")) == 1


async def test_device_takes_over_from_its_silent_connection() -> None:
    front = Front()
    client = await front.connect("dev1")
    answering(front, Silence(KEY, "route lost"))
    await client.exchange(TELEMETRY)
    await front.connect("dev1")
    await client.settle()
    assert client.transport.closed
    assert len(front.gateway.named("disconnected")) == 1


async def test_connack_may_be_kept_back() -> None:
    front = Front()
    front.gateway.on_opened = lambda session: [Withhold(session.key)]
    assert await front.attempt(connect_packet("dev1")) == []


async def test_unanswered_connect_is_cut() -> None:
    front = Front()

    class Cutting(StubGateway):
        def connect(self, request: ConnectRequest, now: object) -> Session | Refusal:
            return Unanswered(ConnectReturnCode.SERVER_UNAVAILABLE, "cut")

    front.broker.substitute({front.gateway: Cutting()})
    client = front.arrive()
    assert await client.exchange(connect_packet("dev1"), turns=CONNECT_TURNS) == []
    assert client.transport.aborted


async def test_suback_may_be_kept_back() -> None:
    front = Front()

    class Withholding(StubGateway):
        def subscribed(self, session: Session, topic_filters: object, now: object) -> list[Action]:
            return [Withhold(session.key)]

    client = await front.connect("dev1")
    assert await client.exchange(SUBSCRIBE) == [Suback(1, (1,))]
    front.broker.substitute({front.gateway: Withholding()})
    assert await client.exchange(SUBSCRIBE) == []


async def test_substituted_gateway_serves_open_and_new_connections() -> None:
    front = Front()
    client = await front.connect("dev1")
    other = StubGateway()
    front.broker.substitute({front.gateway: other})
    await client.exchange(TELEMETRY)
    await front.connect("dev2")
    assert [len(other.named(name)) for name in ("receive", "connect")] == [1, 1]
    assert front.gateway.named("receive") == []
