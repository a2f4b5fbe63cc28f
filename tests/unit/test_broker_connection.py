import asyncio
from collections.abc import Callable
from datetime import datetime

import pytest

from broker.connection import MAX_BYTES_BEFORE_CONNACK, MAX_PACKET_BYTES, MAX_UNACKNOWLEDGED, Connection
from broker.gateway import Action, AnyGateway, Close, ConnectReturnCode, Publish, Refusal, Session, Will
from broker.outbox import Outbox
from broker.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubrec,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    format_packet,
)
from broker.packets import Publish as PublishPacket
from certs.peer import PeerChain
from tests.doubles.gateway import NOW, StubGateway, StubSession, user_name
from tests.doubles.transport import MemoryClient

CONNECT = Connect("dev1", user_name=user_name("dev1"), will=Will("will/topic", b"gone", 1, retain=False))
CONNACK = Connack(session_present=False, return_code=0)


class StubDoor:
    """Stands for the broker: authenticates on the spot, unless `holds`, and knows connections by session key."""

    def __init__(self) -> None:
        self.gateway = StubGateway()
        self.commits = 0
        self.commit_fails = False
        self.holds = False
        self.outbox = Outbox(self.commit)
        self.connections: list[Connection] = []

    def commit(self) -> None:
        self.commits += 1
        if self.commit_fails:
            raise OSError("disk full")

    def now(self) -> datetime:
        return NOW

    def adopt(self, connection: Connection) -> None:
        if not self.holds:
            self.decide(connection)

    def decide(self, connection: Connection) -> None:
        outcome = connection.authenticate()
        if isinstance(outcome, Refusal):
            connection.refuse(outcome)
        else:
            connection.accept(*outcome, 90.0)

    def authenticate(self, connection: Connection) -> tuple[Session, AnyGateway] | Refusal:
        outcome = self.gateway.connect(connection.request(), self.now())
        return outcome if isinstance(outcome, Refusal) else (outcome, self.gateway)

    def perform(self, actions: list[Action]) -> None:
        for action in actions:
            for connection in self.connections:
                if connection.session is None or connection.session.key != action.session_key:
                    continue
                if isinstance(action, Publish):
                    connection.publish(action)
                else:
                    connection.close(action.reason)

    def arrived(self, connection: Connection) -> None:
        self.connections.append(connection)

    def left(self, connection: Connection) -> None:
        self.connections.remove(connection)


class Client(MemoryClient):
    """The client end of a connection to the stub door."""

    def __init__(self, door: StubDoor, peer_chain: PeerChain | None = None) -> None:
        super().__init__(Connection(door), peer_chain)


@pytest.fixture
def door() -> StubDoor:
    return StubDoor()


@pytest.fixture
def client(door: StubDoor) -> Client:
    return Client(door)


@pytest.fixture
async def device(client: Client) -> Client:
    """A client past its CONNACK."""
    assert await client.exchange(CONNECT) == [CONNACK]
    return client


def telemetry(packet_id: int | None = 1, payload: bytes = b"21.5", topic: str = "devices/dev1") -> PublishPacket:
    return PublishPacket(topic, payload, qos=1 if packet_id else 0, packet_id=packet_id)


class TestConnect:
    async def test_accepted_client_gets_connack_after_the_commit(self, door: StubDoor, client: Client) -> None:
        client.send(CONNECT)
        assert client.transport.packets() == []
        await asyncio.sleep(0)
        assert client.transport.packets() == [CONNACK]
        assert door.commits == 1

    async def test_gateway_sees_what_the_packet_and_this_connection_say(self, door: StubDoor) -> None:
        chain = PeerChain((b"der",))
        client = Client(door, chain)
        client.send(Connect("dev1", False, 60, user_name("dev1"), b"token", CONNECT.will))
        (request,) = door.gateway.requests
        assert (request.client_id, request.user_name, request.password) == ("dev1", user_name("dev1"), b"token")
        assert (request.clean_session, request.keep_alive_seconds, request.will) == (False, 60, CONNECT.will)
        assert (request.peer_chain, request.remote) == (chain, "192.0.2.1:50000")

    async def test_client_without_user_name_is_presented_with_an_empty_one(
        self, door: StubDoor, client: Client
    ) -> None:
        client.send(Connect("dev1"))
        assert door.gateway.requests[0].user_name == ""

    async def test_session_present_is_the_sessions_own(self, door: StubDoor, client: Client) -> None:
        door.gateway.session = lambda request: StubSession("hub/dev1", "dev1", session_present=True)
        assert await client.exchange(CONNECT) == [Connack(session_present=True, return_code=0)]

    async def test_refused_client_gets_the_return_code_and_is_closed(self, door: StubDoor, client: Client) -> None:
        door.gateway.refused.add("dev1")
        assert await client.exchange(CONNECT) == [Connack(False, ConnectReturnCode.NOT_AUTHORIZED)]
        assert client.transport.closed
        assert not client.transport.aborted

    async def test_refused_client_is_no_connection_to_the_gateway(self, door: StubDoor, client: Client) -> None:
        door.gateway.refused.add("dev1")
        await client.exchange(CONNECT, telemetry())
        await client.settle()
        assert [call[0] for call in door.gateway.calls] == ["connect"]

    async def test_other_protocol_version_gets_connack_1(self, door: StubDoor, client: Client) -> None:
        version_5 = bytearray(format_packet(CONNECT))
        version_5[version_5.index(b"MQTT") + 4] = 5
        client.connection.data_received(bytes(version_5))
        await asyncio.sleep(0)
        assert client.transport.packets() == [Connack(False, ConnectReturnCode.UNACCEPTABLE_PROTOCOL_VERSION)]
        assert client.transport.closed
        assert door.gateway.calls == []

    @pytest.mark.parametrize(
        "first", [Pingreq(), telemetry(), Subscribe(1, (("#", 0),)), Disconnect(), Puback(1), CONNACK]
    )
    async def test_any_other_first_packet_closes_without_an_answer(
        self, door: StubDoor, client: Client, first: Packet
    ) -> None:
        assert await client.exchange(first, CONNECT) == []
        assert client.transport.closed
        assert door.gateway.calls == []

    async def test_garbage_closes_without_an_answer(self, client: Client) -> None:
        client.connection.data_received(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.sleep(0)
        assert client.transport.closed
        assert client.transport.packets() == []

    async def test_second_connect_closes_the_connection(self, door: StubDoor, device: Client) -> None:
        assert await device.exchange(CONNECT) == []
        assert device.transport.closed
        assert len(door.gateway.named("connect")) == 1

    async def test_second_connect_on_the_heels_of_the_first_closes_it_too(self, door: StubDoor, client: Client) -> None:
        door.holds = True
        client.send(CONNECT, CONNECT)
        door.decide(client.connection)
        await client.settle()
        assert client.transport.closed
        assert len(door.gateway.named("connect")) == 1

    async def test_connect_in_single_bytes_is_understood(self, client: Client) -> None:
        for byte in format_packet(CONNECT):
            client.connection.data_received(bytes((byte,)))
        await asyncio.sleep(0)
        assert client.transport.packets() == [CONNACK]

    async def test_what_the_gateway_says_at_opening_follows_connack(self, door: StubDoor, client: Client) -> None:
        door.gateway.on_opened = lambda session: [Publish(session.key, "waiting", b"1", 1, "t")]
        assert await client.exchange(CONNECT) == [CONNACK, PublishPacket("waiting", b"1", 1, packet_id=1)]

    async def test_dripping_client_is_not_heard_before_connack(self, door: StubDoor, client: Client) -> None:
        client.connection.heard_at = -1000.0
        client.connection.data_received(format_packet(CONNECT)[:5])
        assert client.connection.heard_at == -1000.0
        client.connection.data_received(format_packet(CONNECT)[5:])
        assert client.connection.heard_at > -1000.0


class TestPacketsBeforeConnack:
    async def test_are_handled_in_order_once_accepted(self, door: StubDoor, client: Client) -> None:
        door.holds = True
        client.send(CONNECT, telemetry(1), telemetry(2))
        client.send(Pingreq())
        assert door.gateway.calls == []
        door.decide(client.connection)
        await asyncio.sleep(0)
        assert client.transport.packets() == [CONNACK, Puback(1), Puback(2), Pingresp()]

    async def test_are_not_handled_after_one_of_them_closed(self, door: StubDoor, client: Client) -> None:
        door.holds = True
        client.send(CONNECT, Disconnect(), telemetry(1))
        door.decide(client.connection)
        await client.settle()
        assert door.gateway.named("receive") == []

    async def test_are_forgotten_when_refused(self, door: StubDoor, client: Client) -> None:
        door.holds = True
        door.gateway.refused.add("dev1")
        client.send(CONNECT, telemetry(1))
        door.decide(client.connection)
        await client.settle()
        assert door.gateway.named("receive") == []

    async def test_are_bounded_in_bytes(self, door: StubDoor, client: Client) -> None:
        door.holds = True
        client.send(CONNECT)
        for _ in range(MAX_BYTES_BEFORE_CONNACK // 1000 + 1):
            client.send(telemetry(1, bytes(1000)))
        await client.settle()
        assert client.transport.closed
        assert client.connection._early == []

    async def test_connection_closed_while_it_is_decided_is_not_accepted(self, door: StubDoor, client: Client) -> None:
        door.holds = True
        client.send(CONNECT)
        client.transport.close()
        await client.settle()
        client.connection.accept(StubSession("hub/dev1", "dev1"), door.gateway, 90.0)
        client.connection.refuse(Refusal(ConnectReturnCode.NOT_AUTHORIZED, "late"))
        await client.settle()
        assert client.transport.packets() == []
        assert client.connection.session is None

    async def test_oversized_connect_is_refused_before_its_body_comes(self, client: Client) -> None:
        client.connection.data_received(b"\x10\xff\xff\x7f")
        await asyncio.sleep(0)
        assert client.transport.closed
        assert client.transport.packets() == []

    async def test_limit_is_exact(self, door: StubDoor) -> None:
        at_limit, over = Client(door), Client(door)
        at_limit.connection.data_received(b"\x10\xfc\xff\x03" + bytes(MAX_BYTES_BEFORE_CONNACK - 4 - 1))
        assert not at_limit.connection.is_closed
        over.connection.data_received(b"\x10\xfd\xff\x03")
        assert over.connection.is_closed


class TestOpenConnection:
    async def test_qos_1_message_is_acknowledged_after_the_commit(self, door: StubDoor, device: Client) -> None:
        commits = door.commits
        device.send(telemetry(7))
        assert device.transport.packets() == []
        await asyncio.sleep(0)
        assert device.transport.packets() == [Puback(7)]
        assert door.commits == commits + 1

    async def test_qos_0_message_is_committed_too(self, door: StubDoor, device: Client) -> None:
        commits = door.commits
        assert await device.exchange(telemetry(None)) == []
        assert door.commits == commits + 1

    async def test_gateway_gets_the_message_as_it_was_sent(self, door: StubDoor, device: Client) -> None:
        await device.exchange(PublishPacket("a/b", b"\x00\xff", 1, retain=True, dup=True, packet_id=9))
        assert door.gateway.named("receive") == [("hub/dev1", "a/b", b"\x00\xff", 1, True, True)]

    async def test_puback_leaves_before_the_answer(self, door: StubDoor, device: Client) -> None:
        door.gateway.on_receive = lambda session, topic, payload: [Publish(session.key, "answer", payload)]
        assert await device.exchange(telemetry(3)) == [Puback(3), PublishPacket("answer", b"21.5")]

    async def test_message_that_closes_its_connection_is_not_acknowledged(self, door: StubDoor, device: Client) -> None:
        door.gateway.on_receive = lambda session, topic, payload: [Close(session.key, "bad topic")]
        assert await device.exchange(telemetry(3), telemetry(4)) == []
        assert device.transport.closed
        assert len(door.gateway.named("receive")) == 1

    async def test_message_that_closes_another_connection_is_acknowledged(self, door: StubDoor, device: Client) -> None:
        other = Client(door)
        await other.exchange(Connect("dev2"))
        door.gateway.on_receive = lambda session, topic, payload: [Close("hub/dev2", "deleted")]
        assert await device.exchange(telemetry(3)) == [Puback(3)]
        assert other.transport.closed

    async def test_qos_2_message_closes_the_connection(self, door: StubDoor, device: Client) -> None:
        assert await device.exchange(PublishPacket("a", b"", 2, packet_id=1)) == []
        assert device.transport.closed
        assert door.gateway.named("receive") == []

    async def test_ping_is_answered(self, device: Client) -> None:
        assert await device.exchange(Pingreq(), Pingreq()) == [Pingresp(), Pingresp()]

    async def test_subscription_is_granted_with_at_most_qos_1(self, door: StubDoor, device: Client) -> None:
        assert await device.exchange(Subscribe(5, (("a", 0), ("b/#", 1), ("c/+", 2)))) == [Suback(5, (0, 1, 1))]
        assert door.gateway.named("subscribed") == [("hub/dev1", ("a", 0), ("b/#", 1), ("c/+", 1))]

    async def test_one_forbidden_filter_closes_and_records_none(self, door: StubDoor, device: Client) -> None:
        assert await device.exchange(Subscribe(5, (("a", 0), ("forbidden/#", 0)))) == []
        assert device.transport.closed
        assert door.gateway.named("subscribed") == []

    async def test_unsubscription_is_acknowledged(self, door: StubDoor, device: Client) -> None:
        assert await device.exchange(Unsubscribe(6, ("a", "b"))) == [Unsuback(6)]
        assert door.gateway.named("unsubscribed") == [("hub/dev1", "a", "b")]

    @pytest.mark.parametrize("packet", [Pubrec(1), Suback(1, (0,)), Unsuback(1), Pingresp(), CONNACK])
    async def test_packet_a_client_never_sends_closes(self, device: Client, packet: Packet) -> None:
        assert await device.exchange(packet) == []
        assert device.transport.closed

    async def test_malformed_packet_closes_after_those_before_it_were_answered(self, device: Client) -> None:
        device.connection.data_received(format_packet(telemetry(1)) + b"\xff\x00" + format_packet(telemetry(2)))
        await asyncio.sleep(0)
        assert device.transport.packets() == [Puback(1)]
        assert device.transport.closed

    async def test_packet_over_the_limit_closes_before_its_body_comes(self, device: Client) -> None:
        oversized = format_packet(telemetry(1, bytes(MAX_PACKET_BYTES)))
        assert await device.exchange() == []
        device.connection.data_received(oversized[:5])
        await asyncio.sleep(0)
        assert device.transport.closed

    async def test_packet_of_256_kib_is_taken(self, device: Client) -> None:
        assert await device.exchange(telemetry(1, bytes(256 * 1024))) == [Puback(1)]

    async def test_bytes_after_the_close_are_ignored(self, door: StubDoor, device: Client) -> None:
        device.send(Disconnect())
        device.send(telemetry(1))
        await device.settle()
        assert device.transport.packets() == []
        assert door.gateway.named("receive") == []


class TestMessagesToTheClient:
    def publish(self, door: StubDoor, token: str = "", qos: int = 1, payload: bytes = b"") -> None:
        door.perform([Publish("hub/dev1", "to/dev1", payload, qos, token)])

    async def test_qos_1_is_acknowledged_by_the_clients_puback(self, door: StubDoor, device: Client) -> None:
        self.publish(door, "token")
        assert await device.exchange() == [PublishPacket("to/dev1", b"", 1, packet_id=1)]
        assert door.gateway.named("acknowledged") == []
        await device.exchange(Puback(1))
        assert door.gateway.named("acknowledged") == [("hub/dev1", "token")]

    async def test_qos_0_is_acknowledged_when_written(self, door: StubDoor, device: Client) -> None:
        self.publish(door, "token", qos=0)
        assert door.gateway.named("acknowledged") == []
        await asyncio.sleep(0)
        assert device.transport.packets() == [PublishPacket("to/dev1")]
        assert door.gateway.named("acknowledged") == [("hub/dev1", "token")]

    async def test_qos_0_is_not_acknowledged_when_the_transport_is_gone(self, door: StubDoor, device: Client) -> None:
        self.publish(door, "token", qos=0)
        device.transport.closed = True
        await device.settle()
        assert door.gateway.named("acknowledged") == []

    async def test_message_without_token_asks_for_no_acknowledgement(self, door: StubDoor, device: Client) -> None:
        self.publish(door, qos=0)
        self.publish(door, qos=1)
        await device.exchange(Puback(1))
        assert door.gateway.named("acknowledged") == []

    @pytest.mark.parametrize("packet_id", [1, 2, 65535])
    async def test_puback_with_unknown_id_is_ignored(self, door: StubDoor, device: Client, packet_id: int) -> None:
        assert await device.exchange(Puback(packet_id), Pingreq()) == [Pingresp()]
        assert door.gateway.named("acknowledged") == []

    async def test_second_puback_of_a_message_is_ignored(self, door: StubDoor, device: Client) -> None:
        self.publish(door, "token")
        await device.exchange(Puback(1), Puback(1))
        assert len(door.gateway.named("acknowledged")) == 1

    async def test_packet_ids_rise_wrap_and_skip_what_is_in_flight(self, door: StubDoor, device: Client) -> None:
        self.publish(door, "first")
        device.connection._last_packet_id = 65534
        self.publish(door, "last")
        self.publish(door, "after 65535")
        ids = [packet.packet_id for packet in await device.exchange() if isinstance(packet, PublishPacket)]
        assert ids == [1, 65535, 2]

    async def test_client_that_leaves_too_many_unacknowledged_is_closed(self, door: StubDoor, device: Client) -> None:
        for _ in range(MAX_UNACKNOWLEDGED):
            self.publish(door)
        assert not device.connection.is_closed
        self.publish(door)
        assert device.connection.is_closed

    async def test_what_acknowledgement_brings_goes_out(self, door: StubDoor, device: Client) -> None:
        door.gateway.on_acknowledged = lambda session, token: [Publish(session.key, "next", b"", 0)]
        self.publish(door, "token")
        await device.exchange()
        assert await device.exchange(Puback(1)) == [PublishPacket("next")]

    async def test_message_to_a_closed_connection_is_dropped(self, door: StubDoor, device: Client) -> None:
        device.connection.close("because")
        self.publish(door, "token")
        await device.settle()
        assert device.transport.packets() == []

    async def test_message_that_does_not_fit_mqtt_closes_its_addressee_only(
        self, door: StubDoor, device: Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        """As the answer to a request ID of 65,500 bytes: the client's fault, so no traceback."""
        other = Client(door)
        await other.exchange(Connect("dev2"))
        door.gateway.on_receive = lambda session, topic, payload: [Publish("hub/dev1", "t" * 65536, b"", 1, "token")]
        assert await other.exchange(telemetry(1)) == [Puback(1)]
        assert device.transport.closed
        assert device.transport.packets() == []
        assert not other.transport.closed
        assert "a message to it does not fit MQTT: a topic has 65536 bytes" in caplog.text
        assert "Traceback" not in caplog.text


class TestEnd:
    async def test_disconnect_discards_the_will(self, door: StubDoor, device: Client) -> None:
        await device.exchange(Disconnect())
        assert device.transport.closed
        assert door.gateway.named("disconnected") == [("hub/dev1", None)]

    async def test_lost_connection_leaves_its_will(self, door: StubDoor, device: Client) -> None:
        device.transport.close()
        await device.settle()
        assert door.gateway.named("disconnected") == [("hub/dev1", CONNECT.will)]

    async def test_violation_leaves_the_will(self, door: StubDoor, device: Client) -> None:
        await device.exchange(CONNACK)
        assert door.gateway.named("disconnected") == [("hub/dev1", CONNECT.will)]

    @pytest.mark.parametrize(
        "end",
        [
            lambda client: client.send(Disconnect()),
            lambda client: client.connection.close("because"),
            lambda client: client.connection.drop("because"),
            lambda client: client.transport.close(),
        ],
    )
    async def test_gateway_is_told_once_whatever_the_cause(
        self, door: StubDoor, device: Client, end: Callable[[Client], None]
    ) -> None:
        end(device)
        end(device)
        await device.settle()
        device.connection.close("again")
        device.connection.drop("again")
        await device.settle()
        assert len(door.gateway.named("disconnected")) == 1
        assert door.connections == []

    async def test_close_lets_out_what_was_promised_before(self, door: StubDoor, device: Client) -> None:
        device.send(telemetry(1))
        device.connection.close("because")
        await asyncio.sleep(0)
        assert device.transport.packets() == [Puback(1)]
        assert device.transport.closed
        assert not device.transport.aborted

    async def test_drop_lets_out_nothing(self, door: StubDoor, device: Client) -> None:
        device.send(telemetry(1))
        device.connection.drop("because")
        await device.settle()
        assert device.transport.packets() == []
        assert device.transport.aborted

    async def test_what_a_disconnect_brings_to_others_goes_out(self, door: StubDoor, device: Client) -> None:
        other = Client(door)
        await other.exchange(Connect("dev2"))
        door.gateway.on_disconnected = lambda session: [Publish("hub/dev2", "left", b"")]
        device.transport.close()
        await device.settle()
        assert other.transport.packets() == [PublishPacket("left")]

    async def test_answer_to_a_client_that_just_left_is_forgotten(self, door: StubDoor, device: Client) -> None:
        device.send(telemetry(1))
        device.connection.connection_lost(None)
        await device.settle()
        assert device.transport.packets() == []

    async def test_failed_commit_drops_without_an_answer(self, door: StubDoor, device: Client) -> None:
        door.commit_fails = True
        assert await device.exchange(telemetry(1)) == []
        assert device.transport.aborted
        assert len(door.gateway.named("disconnected")) == 1

    async def test_closed_connection_gets_time_for_its_last_bytes(self, device: Client) -> None:
        device.connection.heard_at = -1000.0
        device.connection.close("because")
        assert device.connection.heard_at > -1000.0


class TestGatewayThatFails:
    @pytest.mark.parametrize(
        ("call", "packet"),
        [
            ("receive", telemetry(1)),
            ("receive", telemetry(None)),
            ("may_subscribe", Subscribe(1, (("a", 0),))),
            ("subscribed", Subscribe(1, (("a", 0),))),
            ("unsubscribed", Unsubscribe(1, ("a",))),
            ("acknowledged", Puback(1)),
            ("disconnected", Disconnect()),
        ],
    )
    async def test_costs_its_connection_only_and_is_not_acknowledged(
        self, door: StubDoor, device: Client, call: str, packet: Packet, caplog: pytest.LogCaptureFixture
    ) -> None:
        other = Client(door)
        await other.exchange(Connect("dev2"))
        door.perform([Publish("hub/dev1", "t", b"", 1, "token")])
        await device.exchange()
        door.gateway.fails_in.add(call)
        assert await device.exchange(packet, Pingreq()) == []
        await device.settle()
        assert device.transport.closed
        assert "the stub fails" in caplog.text
        assert len(door.gateway.named("disconnected")) == 1
        door.gateway.fails_in.clear()
        assert await other.exchange(Pingreq()) == [Pingresp()]

    async def test_at_opening_costs_the_connection(self, door: StubDoor, client: Client) -> None:
        door.gateway.fails_in.add("opened")
        assert await client.exchange(CONNECT, telemetry(1)) == [CONNACK]
        assert client.transport.closed
        assert door.gateway.named("receive") == []

    async def test_at_the_acknowledgement_of_qos_0_costs_the_connection(self, door: StubDoor, device: Client) -> None:
        door.gateway.fails_in.add("acknowledged")
        door.perform([Publish("hub/dev1", "t", b"", 0, "token")])
        await device.settle()
        assert device.transport.closed


async def test_transport_without_a_peer_name_is_unknown(door: StubDoor) -> None:
    connection = Connection(door)
    connection.connection_made(asyncio.Transport())
    assert connection.remote == "unknown"


async def test_log_names_address_then_client_then_session(door: StubDoor, caplog: pytest.LogCaptureFixture) -> None:
    nobody, refused, known = Client(door), Client(door), Client(door)
    door.gateway.refused.add("evil\n")
    nobody.send(Pingreq())
    refused.send(Connect("evil\n"))
    known.send(CONNECT, CONNACK)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "192.0.2.1:50000: closed: first packet is PINGREQ, not CONNECT",
        "192.0.2.1:50000 'evil\\n': connection refused (CONNACK 5): the stub refuses it",
        "192.0.2.1:50000 hub/dev1: closed: unexpected CONNACK",
    ]
