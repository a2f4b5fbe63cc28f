import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from broker.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Unsubscribe,
    format_packet,
)
from device_sim.errors import ConnectionLost, ConnectionRefused, DeviceError, RequestTimeout, SubscriptionRefused
from device_sim.inbox import MAX_MESSAGES, Inbox
from device_sim.mqtt import MAX_PACKET_ID, MqttClient

CONNECT = Connect("dev", user_name="hub/dev")


async def opened(cloud: Any, connect: Connect = CONNECT) -> tuple[MqttClient, Any]:
    client = MqttClient("hub:8883", timeout_seconds=30)
    wire = await cloud.open("hub", 8883, client, None, 30)
    await client.connect(connect)
    return client, wire


def answers(**replies: list[Packet]) -> Callable[[Any, Packet], list[Packet] | None]:
    """Answer packets of a kind, named in lower case, with these packets; the others as usual."""
    return lambda _wire, packet: replies.get(type(packet).__name__.lower())


def test_publish_returns_at_its_puback(cloud: Any, run: Any) -> None:
    async def scenario() -> list[Packet]:
        client, wire = await opened(cloud)
        await asyncio.gather(client.publish("a", b"1"), client.publish("b", b"2"))
        return wire.received[1:]

    assert run(scenario())[0] == [Publish("a", b"1", 1, packet_id=1), Publish("b", b"2", 1, packet_id=2)]


def test_publish_with_qos_0_waits_for_nothing(cloud: Any, run: Any) -> None:
    async def scenario() -> None:
        client, wire = await opened(cloud)
        await client.publish("a", b"1", qos=0)
        assert wire.received[-1] == Publish("a", b"1")

    assert run(scenario())[1] == 0


def test_publish_without_puback_times_out(cloud: Any, run: Any) -> None:
    cloud.reply = answers(publish=[])

    async def scenario() -> None:
        client, _ = await opened(cloud)
        with pytest.raises(RequestTimeout, match="no PUBACK within 30 s"):
            await client.publish("a", b"1")

    assert run(scenario())[1] == 30


def test_each_wait_ends_in_its_own_time(cloud: Any, run: Any) -> None:
    cloud.reply = answers(publish=[])

    async def scenario() -> list[float]:
        client, _ = await opened(cloud)
        ended: list[float] = []

        async def publish_after(seconds: float) -> None:
            await asyncio.sleep(seconds)
            with pytest.raises(RequestTimeout):
                await client.publish("a", b"")
            ended.append(asyncio.get_running_loop().time())

        await asyncio.gather(*(publish_after(seconds) for seconds in (0, 10, 10.5, 45)))
        return ended

    assert run(scenario())[0] == pytest.approx([30, 40, 40.5, 75], abs=0.002)


def test_message_that_nobody_waits_for_ends_the_connection_after_the_waits_around_it(cloud: Any, run: Any) -> None:
    cloud.reply = answers(publish=[], subscribe=[])

    async def scenario() -> list[tuple[float, str]]:
        client, _ = await opened(cloud)
        ended: list[tuple[float, str]] = []

        async def subscribe_after(seconds: float) -> None:
            await asyncio.sleep(seconds)
            with pytest.raises(DeviceError) as error:
                await client.subscribe(["a"])
            ended.append((asyncio.get_running_loop().time(), error.value.reason))

        async def post_after(seconds: float) -> None:
            await asyncio.sleep(seconds)
            client.post("a", b"")

        await asyncio.gather(subscribe_after(0), post_after(5), subscribe_after(8))
        return ended

    assert run(scenario())[0] == [(30, "RequestTimeout"), (pytest.approx(35, abs=0.002), "ConnectionLost")]


def test_late_puback_does_not_answer_another_publish(cloud: Any, run: Any) -> None:
    cloud.reply = answers(publish=[])

    async def scenario() -> None:
        client, wire = await opened(cloud)
        with pytest.raises(RequestTimeout):
            await client.publish("a", b"1")
        second = asyncio.ensure_future(client.publish("a", b"2"))
        await asyncio.sleep(1)
        wire.send(Puback(1))
        await asyncio.sleep(1)
        assert not second.done()
        wire.send(Puback(2))
        await second

    run(scenario())


def test_refused_connect_is_raised_with_its_return_code(cloud: Any, run: Any) -> None:
    cloud.reply = answers(connect=[Connack(session_present=False, return_code=5)])

    async def scenario() -> MqttClient:
        client = MqttClient("hub:8883", timeout_seconds=30)
        await cloud.open("hub", 8883, client, None, 30)
        with pytest.raises(ConnectionRefused, match="hub:8883 refused hub/dev with CONNACK 5") as refused:
            await client.connect(CONNECT)
        assert refused.value.reason == "ConnectionRefused 5"
        return client

    assert not run(scenario())[0].is_connected


def test_every_wait_ends_when_the_connection_is_lost(cloud: Any, run: Any) -> None:
    cloud.reply = answers(publish=[], subscribe=[])

    async def scenario() -> list[Any]:
        client, wire = await opened(cloud)
        inbox = Inbox(client, "x/")
        waits = asyncio.gather(
            client.publish("a", b""), client.subscribe(["b"]), inbox.get(), client.wait_closed(), return_exceptions=True
        )
        await asyncio.sleep(1)
        wire.close()
        return await waits

    *lost, closed = run(scenario())[0]
    assert [type(error) for error in lost] == [ConnectionLost] * 3
    assert "closed by the server" in str(lost[0])
    assert closed is None


def test_answer_right_before_the_end_of_the_connection_counts(cloud: Any, run: Any) -> None:
    cloud.reply = answers(publish=[])

    async def scenario() -> None:
        client, wire = await opened(cloud)
        publishing = asyncio.ensure_future(client.publish("a", b""))
        await asyncio.sleep(1)
        wire.send(Puback(1))
        asyncio.get_running_loop().call_soon(wire.protocol.connection_lost, None)
        await publishing
        client.abort("again")
        assert client.failure == "closed by the server"

    run(scenario())


def test_nothing_can_be_sent_or_awaited_over_a_lost_connection(cloud: Any, run: Any) -> None:
    async def scenario() -> None:
        client, wire = await opened(cloud)
        inbox = Inbox(client, "x/")
        wire.close()
        await client.wait_closed()
        with pytest.raises(ConnectionLost):
            await client.publish("a", b"")
        with pytest.raises(ConnectionLost):
            await inbox.get()
        await client.wait_closed()
        await client.disconnect()

    run(scenario())


def test_subscription_is_granted_or_refused(cloud: Any, run: Any) -> None:
    async def scenario() -> None:
        client, wire = await opened(cloud)
        await client.subscribe(["a", "b/#"])
        assert wire.received[-1] == Subscribe(1, (("a", 1), ("b/#", 1)))
        cloud.reply = answers(subscribe=[Suback(2, (1, 0x80))])
        with pytest.raises(SubscriptionRefused, match="128"):
            await client.subscribe(["a", "b/#"])
        cloud.reply = answers(subscribe=[Suback(3, (1,))])
        with pytest.raises(SubscriptionRefused):
            await client.subscribe(["a", "b/#"])

    run(scenario())


def test_value_that_does_not_fit_leaves_nothing_behind(cloud: Any, run: Any) -> None:
    async def scenario() -> None:
        client, wire = await opened(cloud)
        with pytest.raises(ValueError, match="65536 bytes"):
            await client.publish("a" * 65_536, b"")
        await client.publish("a", b"")
        assert len(wire.received) == 2

    run(scenario())


def test_message_goes_to_its_listener_before_it_is_acknowledged(cloud: Any, run: Any) -> None:
    async def scenario() -> None:
        client, wire = await opened(cloud)
        heard = []
        client.listen("x/", lambda packet: heard.append((packet.topic, len(wire.received))))
        wire.send(Publish("x/1", b"", 1, packet_id=9), Publish("x/2"), Publish("y/1", b"", 1, packet_id=10))
        await asyncio.sleep(1)
        assert heard == [("x/1", 1), ("x/2", 2)]
        assert wire.received[1:] == [Puback(9), Puback(10)]

    run(scenario())


def test_inbox_keeps_the_order_of_messages(cloud: Any, run: Any) -> None:
    async def scenario() -> list[str]:
        client, wire = await opened(cloud)
        inbox = Inbox(client, "x/")
        first = asyncio.ensure_future(inbox.get())
        await asyncio.sleep(1)
        wire.send(Publish("x/1"), Publish("x/2"), Publish("x/3"))
        await asyncio.sleep(1)
        return [(await first).topic, (await inbox.get()).topic, (await inbox.get()).topic]

    assert run(scenario())[0] == ["x/1", "x/2", "x/3"]


def test_flooded_inbox_ends_the_connection(cloud: Any, run: Any) -> None:
    async def scenario() -> str:
        client, wire = await opened(cloud)
        Inbox(client, "x/")
        wire.send_bytes(format_packet(Publish("x/1")) * (MAX_MESSAGES + 1))
        await client.wait_closed()
        return client.failure

    assert "were left unread" in run(scenario())[0]


def test_idle_connection_is_pinged_within_its_keep_alive(cloud: Any, run: Any) -> None:
    async def scenario() -> int:
        client, wire = await opened(cloud, Connect("dev", keep_alive_seconds=60))
        await asyncio.sleep(300)
        assert client.is_connected
        return wire.received.count(Pingreq())

    assert 5 <= run(scenario())[0] <= 10


def test_busy_connection_is_not_pinged(cloud: Any, run: Any) -> None:
    async def scenario() -> bool:
        client, wire = await opened(cloud, Connect("dev", keep_alive_seconds=60))
        for _ in range(10):
            await client.publish("a", b"")
            await asyncio.sleep(25)
        return Pingreq() in wire.received

    assert run(scenario())[0] is False


def test_server_that_does_not_answer_a_ping_is_left(cloud: Any, run: Any) -> None:
    cloud.reply = answers(pingreq=[])

    async def scenario() -> str:
        client, _ = await opened(cloud, Connect("dev", keep_alive_seconds=60))
        await client.wait_closed()
        return client.failure

    failure, seconds = run(scenario())
    assert failure == "no PINGRESP within 30 s"
    assert seconds == 60


@pytest.mark.parametrize(
    "packet",
    [Unsubscribe(1, ("a",)), Connect("x"), Connack(session_present=False, return_code=0), Disconnect()],
    ids=lambda packet: type(packet).__name__,
)
def test_packet_that_a_server_may_not_send_ends_the_connection(cloud: Any, run: Any, packet: Packet) -> None:
    async def scenario() -> str:
        client, wire = await opened(cloud)
        wire.send(packet)
        await client.wait_closed()
        return client.failure

    assert run(scenario())[0].startswith("unexpected")


def test_malformed_packet_ends_the_connection(cloud: Any, run: Any) -> None:
    async def scenario() -> str:
        client, wire = await opened(cloud)
        wire.send_bytes(b"\xf0\x00")
        await client.wait_closed()
        return client.failure

    assert "reserved" in run(scenario())[0]


def test_unasked_answers_are_ignored(cloud: Any, run: Any) -> None:
    async def scenario() -> None:
        client, wire = await opened(cloud)
        wire.send(Puback(77), Suback(78, (0,)), Pingresp())
        await asyncio.sleep(1)
        assert client.is_connected

    run(scenario())


def test_disconnect_says_so_and_closes(cloud: Any, run: Any) -> None:
    async def scenario() -> None:
        client, wire = await opened(cloud)
        await client.disconnect()
        assert wire.received[-1] == Disconnect()
        assert not client.is_connected
        assert client.failure == "disconnected"

    run(scenario())


def test_disconnect_does_not_wait_for_ever(cloud: Any, run: Any) -> None:
    async def scenario() -> None:
        client, wire = await opened(cloud)
        wire.close = lambda: None
        await client.disconnect()

    assert run(scenario())[1] == 5


def test_full_transport_holds_qos_0_publishing_back(cloud: Any, run: Any) -> None:
    async def scenario() -> None:
        client, _ = await opened(cloud)
        client.pause_writing()
        client.pause_writing()
        publishing = asyncio.ensure_future(client.publish("a", b"", qos=0))
        await asyncio.sleep(1)
        assert not publishing.done()
        client.resume_writing()
        await publishing
        client.pause_writing()
        with pytest.raises(RequestTimeout, match="room to write"):
            await client.publish("a", b"", qos=0)
        client.resume_writing()

    run(scenario())


def test_packet_ids_go_round_and_skip_those_in_use(cloud: Any, run: Any) -> None:
    async def scenario() -> list[int | None]:
        client, wire = await opened(cloud)
        cloud.reply = answers(publish=[])
        waiting = asyncio.ensure_future(client.publish("slow", b""))
        await asyncio.sleep(0)
        client._last_packet_id = MAX_PACKET_ID - 1
        cloud.reply = lambda _wire, _packet: None
        await client.publish("a", b"")
        await client.publish("b", b"")
        wire.send(Puback(1))
        await waiting
        return [packet.packet_id for packet in wire.received[1:]]

    assert run(scenario())[0] == [1, 65_535, 2]


def test_more_requests_than_packet_ids_are_refused(cloud: Any, run: Any) -> None:
    async def scenario() -> None:
        client, _ = await opened(cloud)
        client._answers = dict.fromkeys(range(1, MAX_PACKET_ID + 1), asyncio.get_running_loop().create_future())
        with pytest.raises(DeviceError, match="65535 packets wait"):
            await client.publish("a", b"")

    run(scenario())


def test_answer_after_its_wait_was_cancelled_is_ignored(cloud: Any, run: Any) -> None:
    cloud.reply = answers(publish=[])

    async def scenario() -> None:
        client, wire = await opened(cloud)
        publishing = asyncio.ensure_future(client.publish("a", b""))
        await asyncio.sleep(1)
        wire.send(Puback(1))
        publishing.cancel()
        await asyncio.wait((publishing,))
        await asyncio.sleep(1)
        assert client.is_connected

    run(scenario())
