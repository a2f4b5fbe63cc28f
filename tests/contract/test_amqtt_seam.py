"""The facts about amqtt that `broker/mqtt.py` rests on, each beside what our broker does instead.

The letters are those of the design's table of amqtt facts. A `test_stock_…` that fails says that a new amqtt behaves
otherwise: look whether the override in `broker/mqtt.py` is still right, or no longer needed.
"""

import asyncio
import inspect
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from amqtt.adapters import ReaderAdapter, StreamReaderAdapter, StreamWriterAdapter, WriterAdapter
from amqtt.broker import Broker as AmqttBroker
from amqtt.broker import ExternalServer
from amqtt.contexts import Action, ListenerConfig
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.plugins.base import BaseAuthPlugin, BasePlugin, BaseTopicPlugin
from amqtt.session import Session as AmqttSession
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from transitions import Machine

from broker.connection import Connection
from broker.gateway import ConnectReturnCode
from broker.gateway import Publish as PublishAction
from broker.mqtt import LISTENER, Broker, ConnectionHandler, ConnectionSession
from broker.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    PacketReader,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
    format_packet,
)
from certs.authority import CertificateAuthority
from certs.keys import KeyType, generate_key
from certs.peer import PeerChain
from tests.doubles.front import CONNECT_TURNS, Front, connect_packet
from tests.doubles.transport import MemoryClient

ACCEPTED = Connack(session_present=False, return_code=0)
NOT_AUTHORIZED = Connack(session_present=False, return_code=5)
# How long a client of the stock broker listens before it says that nothing came.
# Client and broker share a loop: so many of its turns without a byte, a millisecond apart, are quiet. Turns, because a
# busy machine may stop the process for longer than any time that one would wait.
QUIET_TURNS = 50
QUIET_SECONDS = 0.05


class AcceptsButRefused(BaseAuthPlugin):
    """Refuses the user name `refused`."""

    async def authenticate(self, *, session: AmqttSession) -> bool | None:
        return session.username != "refused"


class AcceptsWithCertificate(BaseAuthPlugin):
    """Accepts whose session has the certificate of its own client ID."""

    async def authenticate(self, *, session: AmqttSession) -> bool | None:
        return session.ssl_object == f"certificate of {session.client_id}"


class AllowsWhenOpened(BaseTopicPlugin):
    """Allows every topic, but has PUBLISH wait until a test opens the gate."""

    gate: asyncio.Event

    async def topic_filtering(
        self, *, session: AmqttSession | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool | None:
        if action is Action.PUBLISH:
            await self.gate.wait()
        return True


class HearsSlowly(BasePlugin[Any]):
    """Gets an event only when a test opens the gate."""

    gate: asyncio.Event
    heard: list[str]

    async def on_broker_message_received(self, *, client_id: str, message: object) -> None:
        await self.gate.wait()
        self.heard.append(client_id)


class StockClient:
    """A client on a TCP connection to a stock amqtt."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._packets = PacketReader(1 << 22)

    def send(self, *packets: Packet) -> None:
        self._writer.write(b"".join(format_packet(packet) for packet in packets))

    def send_bytes(self, data: bytes) -> None:
        self._writer.write(data)

    async def hears(self) -> list[Packet]:
        """Packets that come until it is quiet, or the connection ends."""
        heard: list[Packet] = []
        while data := await self._read_until_quiet():
            heard += self._packets.feed(data)
        return heard

    async def _read_until_quiet(self) -> bytes:
        reading = asyncio.ensure_future(self._reader.read(65536))
        for _ in range(QUIET_TURNS):
            await asyncio.sleep(0.001)
            if reading.done():
                return await reading
        reading.cancel()
        return b""

    async def exchange(self, *packets: Packet) -> list[Packet]:
        self.send(*packets)
        return await self.hears()

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


class Stock:
    """A stock amqtt on a loopback port."""

    def __init__(self, plugins: list[type[BasePlugin[Any]]]) -> None:
        self.broker = AmqttBroker(
            {
                "listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:0"}},
                "plugins": {f"{__name__}.{plugin.__name__}": {} for plugin in plugins},
            }
        )
        self._clients: list[StockClient] = []

    @property
    def port(self) -> int:
        instance = self.broker._servers["default"].instance
        assert isinstance(instance, asyncio.Server)
        port: int = instance.sockets[0].getsockname()[1]
        return port

    async def arrive(self) -> StockClient:
        client = StockClient(*await asyncio.open_connection("127.0.0.1", self.port))
        self._clients.append(client)
        return client

    async def connect(self, client_id: str, *, clean_session: bool = True, keep_alive_seconds: int = 0) -> StockClient:
        client = await self.arrive()
        answer = await client.exchange(Connect(client_id, clean_session, keep_alive_seconds, "user"))
        assert isinstance(answer[0], Connack)
        assert answer[0].return_code == ConnectReturnCode.ACCEPTED
        return client

    async def close(self) -> None:
        for client in self._clients:
            await client.close()
        await asyncio.sleep(0.01)
        await self.broker.shutdown()


@asynccontextmanager
async def stock_broker(*plugins: type[BasePlugin[Any]]) -> AsyncIterator[Stock]:
    stock = Stock(list(plugins or (AcceptsButRefused,)))
    await stock.broker.start()
    try:
        yield stock
    finally:
        await stock.close()


@pytest.fixture
async def stock() -> AsyncIterator[Stock]:
    async with stock_broker() as stock:
        yield stock


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    front = Front()
    await front.broker.start()
    yield front
    await front.broker.shutdown()


@pytest.fixture
def leap(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let the loop's clock, and so every timer on it, jump ahead."""

    def jump(seconds: float) -> None:
        loop = asyncio.get_running_loop()
        time = loop.time
        monkeypatch.setattr(loop, "time", lambda: time() + seconds)

    return jump


def message(topic: str, packet_id: int | None = None, *, retain: bool = False) -> Publish:
    return Publish(topic, b"x", 1 if packet_id else 0, retain, packet_id=packet_id)


def topics(packets: list[Packet]) -> list[str]:
    return [packet.topic for packet in packets if isinstance(packet, Publish)]


class TestPrivateNames:
    """What `broker/mqtt.py` overrides or reads is there, with the parameters it expects."""

    def test_version_is_the_one_reviewed(self) -> None:
        assert version("amqtt") == "0.12.1"

    @pytest.mark.parametrize(
        ("owner", "name", "parameters"),
        [
            (AmqttBroker, "_client_connected", ["self", "listener_name", "reader", "writer"]),
            (AmqttBroker, "external_connected", ["self", "reader", "writer", "listener_name"]),
            (AmqttBroker, "_authenticate", ["self", "session", "_"]),
            (AmqttBroker, "_broadcast_loop", ["self"]),
            (AmqttBroker, "_session_monitor", ["self"]),
            (AmqttBroker, "_cleanup_session", ["self", "client_id"]),
            (AmqttBroker, "start", ["self"]),
            (AmqttBroker, "shutdown", ["self"]),
            (BrokerProtocolHandler, "stop", ["self"]),
            (BaseAuthPlugin, "authenticate", ["self", "session"]),
            (BaseTopicPlugin, "topic_filtering", ["self", "session", "topic", "action"]),
            (ReaderAdapter, "read", ["self", "n"]),
            (WriterAdapter, "drain", ["self"]),
            (WriterAdapter, "close", ["self"]),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_coroutine_has_the_parameters_the_seam_expects(self, owner: type, name: str, parameters: list[str]) -> None:
        function = getattr(owner, name)
        assert inspect.iscoroutinefunction(function)
        assert list(inspect.signature(function).parameters) == parameters

    @pytest.mark.parametrize(
        ("ours", "theirs"),
        [(Broker, AmqttBroker), (ConnectionHandler, BrokerProtocolHandler), (ConnectionSession, AmqttSession)],
        ids=["Broker", "ConnectionHandler", "ConnectionSession"],
    )
    def test_override_takes_what_it_overrides_takes(self, ours: type, theirs: type) -> None:
        shared = [
            name
            for name, value in vars(ours).items()
            if inspect.isfunction(value) and hasattr(theirs, name) and name != "__init__"
        ]
        assert shared
        for name in shared:
            assert list(inspect.signature(getattr(ours, name)).parameters) == list(
                inspect.signature(getattr(theirs, name)).parameters
            ), name

    async def test_attributes_the_seam_reads_are_there(self) -> None:
        broker = AmqttBroker({"listeners": {"default": {"type": "external"}}, "plugins": {}})
        assert broker._sessions == {}
        assert broker.sessions is broker._sessions
        assert broker._loop is asyncio.get_running_loop()
        assert list(broker.listeners_config) == ["default"]

    async def test_external_listener_opens_no_socket(self, front: Front) -> None:
        assert LISTENER in front.broker.listeners_config
        assert all(isinstance(server, ExternalServer) for server in front.broker._servers.values())

    async def test_life_cycle_runs_our_monitor_and_ends_the_broadcast(self, front: Front, leap: Any) -> None:
        await asyncio.sleep(0)
        assert front.broker._broadcast_task is not None
        assert front.broker._broadcast_task.done()
        leap(1.5)
        await MemoryClient.settle(front.arrive())
        assert front.gateway.named("tick") == [()]

    async def test_monitor_survives_a_sweep_that_fails(
        self, front: Front, leap: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        sweep = front.broker.sweep
        monkeypatch.setattr(front.broker, "sweep", lambda: 1 / 0)
        client = front.arrive()
        await client.settle()
        leap(1.5)
        await client.settle()
        assert "sweep failed" in caplog.text
        monkeypatch.setattr(front.broker, "sweep", sweep)
        leap(1.5)
        await client.settle()
        assert front.gateway.named("tick") == [()]

    async def test_shutdown_closes_every_connection_and_forgets_it(self) -> None:
        front = Front()
        await front.broker.start()
        nobody, device = front.arrive(), await front.connect("dev1")
        await front.broker.shutdown()
        assert nobody.transport.closed
        assert device.transport.closed
        assert front.broker.connected == 0
        assert len(front.gateway.named("disconnected")) == 1


class TestDollarTopics:
    """A."""

    async def test_stock_stops_reading_after_a_publish_to_a_dollar_topic(self, stock: Stock) -> None:
        device, watcher = await stock.connect("dev1"), await stock.connect("watcher")
        await watcher.exchange(Subscribe(1, (("t", 0),)))
        await device.exchange(message("t"))
        assert topics(await watcher.hears()) == ["t"]
        assert await device.exchange(message("$dps/registrations/PUT", 1)) == [Puback(1)]
        assert await device.exchange(Pingreq(), message("t")) == [Pingresp()]
        assert await watcher.hears() == []

    async def test_ours_hands_it_to_the_gateway_and_reads_on(self, front: Front) -> None:
        device = await front.connect("dev1")
        assert await device.exchange(message("$dps/registrations/PUT", 1), message("t", 2)) == [Puback(1), Puback(2)]
        assert [call[1] for call in front.gateway.named("receive")] == ["$dps/registrations/PUT", "t"]


class TestResumedSession:
    """B."""

    async def test_stock_accepts_a_resumed_session_without_the_certificate(self) -> None:
        class CertifiedWriter(StreamWriterAdapter):
            certificate: str | None = None

            def get_ssl_info(self) -> Any:
                return self.certificate

        presented = ["certificate of dev1", None, None]

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            certified = CertifiedWriter(writer)
            certified.certificate = presented.pop(0)
            await stock.broker.external_connected(StreamReaderAdapter(reader), certified, "default")

        async with stock_broker(AcceptsWithCertificate) as stock:
            door = await asyncio.start_server(accept, "127.0.0.1", 0)

            async def attempt(client_id: str) -> list[Packet]:
                client = StockClient(*await asyncio.open_connection(*door.sockets[0].getsockname()))
                answer = await client.exchange(Connect(client_id, clean_session=False), Disconnect())
                await client.close()
                return answer

            assert await attempt("dev1") == [ACCEPTED]
            assert await attempt("dev1") == [Connack(session_present=True, return_code=0)]
            assert await attempt("dev2") == [NOT_AUTHORIZED]
            door.close()
            await door.wait_closed()

    async def test_ours_judges_each_connection_by_its_own_certificate(self, front: Front) -> None:
        packet = connect_packet("dev1", clean_session=False)
        chains = [PeerChain((b"certificate of dev1",)), PeerChain(), PeerChain((b"certificate of dev2",))]
        for chain in chains:
            await front.attempt(packet, chain)
        assert [request.peer_chain for request in front.gateway.requests] == chains


class TestRefusedConnect:
    """C."""

    async def test_stock_lets_a_refused_connect_cut_off_the_rightful_device(self, stock: Stock) -> None:
        device, other = await stock.connect("dev1"), await stock.connect("other")
        await device.exchange(Subscribe(1, (("t", 0),)))
        await other.exchange(message("t"))
        assert topics(await device.hears()) == ["t"]
        attacker = await stock.arrive()
        assert await attacker.exchange(Connect("dev1", user_name="refused")) == [NOT_AUTHORIZED]
        await other.exchange(message("t"))
        assert await device.hears() == []

    @pytest.mark.parametrize("clean_session", [True, False])
    async def test_ours_leaves_the_rightful_device_alone(self, front: Front, clean_session: bool) -> None:
        device = await front.connect("dev1")
        entry = front.broker._sessions["hub/dev1"]
        front.gateway.refused.add("dev1")
        assert await front.attempt(connect_packet("dev1", clean_session)) == [NOT_AUTHORIZED]
        front.broker.perform([PublishAction("hub/dev1", "t", b"x")])
        assert await device.exchange() == [message("t")]
        assert front.broker._sessions == {"hub/dev1": entry}
        assert front.gateway.named("disconnected") == []


class TestBroadcast:
    """D."""

    async def test_stock_matches_every_filter_for_each_message(
        self, stock: Stock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        device = await stock.connect("dev1")
        await device.exchange(Subscribe(1, tuple((f"filter/{n}", 0) for n in range(20))))
        matched: list[str] = []
        monkeypatch.setattr(stock.broker, "_matches", lambda topic, a_filter: matched.append(a_filter))
        await device.exchange(message("t"))
        assert len(matched) == 20

    async def test_ours_answers_one_session_though_all_hold_the_filter(self, front: Front) -> None:
        devices = [await front.connect(f"dev{n}") for n in range(3)]
        for device in devices:
            assert await device.exchange(Subscribe(1, (("$dps/registrations/res/#", 0),))) == [Suback(1, (0,))]
        front.broker.perform([PublishAction("hub/dev1", "$dps/registrations/res/202/", b"x")])
        assert [len(await device.exchange()) for device in devices] == [0, 1, 0]
        assert front.broker._subscriptions == {}

    async def test_ours_delivers_nothing_between_devices(self, front: Front) -> None:
        anna, bert = await front.connect("anna"), await front.connect("bert")
        await bert.exchange(Subscribe(1, (("#", 1),)))
        await anna.exchange(message("devices/bert/messages", 1, retain=True))
        assert await bert.exchange(turns=CONNECT_TURNS) == []


class TestEvents:
    """E and F."""

    async def test_stock_goes_on_while_an_event_is_handled(self) -> None:
        HearsSlowly.gate, HearsSlowly.heard = asyncio.Event(), []
        async with stock_broker(AcceptsButRefused, HearsSlowly) as stock:
            device, watcher = await stock.connect("dev1"), await stock.connect("watcher")
            await watcher.exchange(Subscribe(1, (("t", 0),)))
            await device.exchange(message("t"))
            assert topics(await watcher.hears()) == ["t"]
            assert HearsSlowly.heard == []
            HearsSlowly.gate.set()

    async def test_stock_acknowledges_before_any_handler_ran(self) -> None:
        AllowsWhenOpened.gate = asyncio.Event()
        async with stock_broker(AcceptsButRefused, AllowsWhenOpened) as stock:
            device, watcher = await stock.connect("dev1"), await stock.connect("watcher")
            await watcher.exchange(Subscribe(1, (("t", 0),)))
            assert await device.exchange(message("t", 1)) == [Puback(1)]
            assert await watcher.hears() == []
            AllowsWhenOpened.gate.set()
            assert topics(await watcher.hears()) == ["t"]

    async def test_ours_acknowledges_after_the_gateway_has_it_and_the_store_too(self, front: Front) -> None:
        device = await front.connect("dev1")
        commits = front.commits
        device.send(message("t", 1))
        assert len(front.gateway.named("receive")) == 1
        assert (front.commits, device.transport.packets()) == (commits, [])
        assert await device.exchange() == [Puback(1)]
        assert front.commits == commits + 1

    async def test_ours_acknowledges_nothing_that_is_not_stored(self, front: Front) -> None:
        device = await front.connect("dev1")
        front.commit_fails = True
        assert await device.exchange(message("t", 1)) == []
        assert device.transport.aborted
        front.commit_fails = False


class TestTls:
    """G; ours is `tests/unit/test_broker_tls.py`."""

    def test_stock_refuses_a_certificate_of_an_unknown_ca_in_the_handshake(self, tmp_path: Path) -> None:
        now = datetime.now(UTC)
        ca = CertificateAuthority.create_root("server CA", now, key_type=KeyType.P256)
        key = generate_key(KeyType.P256)
        leaf = ca.issue_server(["localhost"], key.public_key(), now, validity=timedelta(days=1))
        pem = tmp_path / "server.pem"
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        pem.write_bytes(secret + leaf.public_bytes(Encoding.PEM))
        context = AmqttBroker._create_ssl_context(ListenerConfig(certfile=pem, keyfile=pem))
        assert context.verify_mode is ssl.CERT_OPTIONAL
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.load_verify_locations(cadata=ca.certificate.public_bytes(Encoding.PEM).decode())
        client.load_cert_chain(pem)
        with pytest.raises(ssl.SSLCertVerificationError):
            _handshake(client, context)


def _handshake(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(down, up, server_hostname="localhost"), server.wrap_bio(up, down, server_side=True)]
    for end in ends * 3:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue


class TestProtocolLevel:
    """H."""

    @staticmethod
    def level(level: int, name: bytes = b"MQTT") -> bytes:
        packet = format_packet(connect_packet("dev1"))
        body = packet[2:].replace(b"\x00\x04MQTT\x04", len(name).to_bytes(2, "big") + name + bytes((level,)), 1)
        return bytes((0x10, len(body))) + body

    async def test_stock_speaks_level_4_only(self, stock: Stock) -> None:
        for data, answer in (
            (self.level(4), [ACCEPTED]),
            (self.level(5), [Connack(session_present=False, return_code=1)]),
            (self.level(3, b"MQIsdp"), []),
        ):
            client = await stock.arrive()
            client.send_bytes(data)
            assert await client.hears() == answer

    @pytest.mark.parametrize(("level", "name"), [(5, b"MQTT"), (3, b"MQTT"), (3, b"MQIsdp")])
    async def test_ours_says_so_to_every_other_level(self, front: Front, level: int, name: bytes) -> None:
        client = front.arrive()
        client.connection.data_received(self.level(level, name))
        answer = await client.exchange()
        assert answer == [Connack(session_present=False, return_code=ConnectReturnCode.UNACCEPTABLE_PROTOCOL_VERSION)]
        assert client.transport.closed


class TestLimits:
    """I, what is never enforced."""

    async def test_stock_keeps_a_client_that_is_silent_over_its_keep_alive(self, stock: Stock, leap: Any) -> None:
        device = await stock.connect("dev1", keep_alive_seconds=1)
        leap(60)
        await asyncio.sleep(QUIET_SECONDS)
        assert await device.exchange(Pingreq()) == [Pingresp()]

    async def test_stock_waits_for_connect_for_ever(self, stock: Stock, leap: Any) -> None:
        client = await stock.arrive()
        await client.hears()
        leap(3600)
        await asyncio.sleep(QUIET_SECONDS)
        assert await client.exchange(Connect("dev1")) == [ACCEPTED]

    async def test_stock_takes_a_packet_of_any_size(self, stock: Stock) -> None:
        device = await stock.connect("dev1")
        assert await device.exchange(Publish("t", bytes(2 << 20), 1, packet_id=1)) == [Puback(1)]

    @pytest.mark.parametrize(("keep_alive_seconds", "limit"), [(1, 1.5), (60, 90), (0, 1767), (65535, 1767)])
    async def test_ours_drops_a_client_silent_for_1_5_times_its_keep_alive(
        self, front: Front, keep_alive_seconds: int, limit: float
    ) -> None:
        device = await front.connect("dev1", keep_alive_seconds=keep_alive_seconds)
        front.silence(limit - 0.1)
        assert not device.transport.closed
        front.silence(0.2)
        assert device.transport.aborted

    async def test_ours_drops_a_client_without_connect(self, front: Front) -> None:
        client = front.arrive()
        front.silence(59)
        assert not client.transport.closed
        front.silence(2)
        assert client.transport.aborted

    async def test_ours_closes_on_a_packet_over_its_limit(self, front: Front) -> None:
        device = await front.connect("dev1")
        assert await device.exchange(Publish("t", bytes(2 << 20), 1, packet_id=1)) == []
        assert device.transport.closed


class TestSessions:
    """I, what goes wrong with sessions."""

    async def test_stock_sends_every_newcomer_the_retained_messages_of_others(self, stock: Stock) -> None:
        device = await stock.connect("dev1")
        await device.exchange(Subscribe(1, (("secret/#", 0),)), message("secret/dev1", retain=True))
        newcomer = await stock.arrive()
        answer = await newcomer.exchange(Connect("newcomer", user_name="user"))
        assert topics(answer) == ["secret/dev1"]

    async def test_ours_retains_nothing(self, front: Front) -> None:
        device = await front.connect("dev1")
        await device.exchange(Subscribe(1, (("#", 0),)), message("secret/dev1", retain=True))
        assert await front.attempt(connect_packet("newcomer")) == [ACCEPTED]
        assert front.broker.retained_messages == {}

    async def test_stock_leaves_both_live_after_a_clean_take_over(self, stock: Stock) -> None:
        first, second = await stock.connect("dev1"), await stock.connect("dev1")
        assert [await each.exchange(Pingreq()) for each in (first, second)] == [[Pingresp()], [Pingresp()]]

    async def test_stock_leaves_neither_live_after_a_take_over_that_resumes(self, stock: Stock) -> None:
        first, other = await stock.connect("dev1", clean_session=False), await stock.connect("other")
        await first.exchange(Subscribe(1, (("t", 0),)))
        await other.exchange(message("t"))
        assert topics(await first.hears()) == ["t"]
        second = await stock.connect("dev1", clean_session=False)
        assert await first.exchange(Pingreq()) == []
        await other.exchange(message("t"))
        assert topics(await second.hears()) == []

    @pytest.mark.parametrize("clean_session", [True, False])
    async def test_ours_closes_the_old_and_keeps_the_new(self, front: Front, clean_session: bool) -> None:
        first = await front.connect("dev1", clean_session=clean_session)
        second = await front.connect("dev1", clean_session=clean_session)
        assert first.transport.closed
        front.broker.perform([PublishAction("hub/dev1", "t", b"x")])
        assert await second.exchange(Pingreq()) == [message("t"), Pingresp()]
        assert front.broker.connected == 1

    async def test_stock_forgets_what_was_not_acknowledged(self, stock: Stock) -> None:
        device, other = await stock.connect("dev1", clean_session=False), await stock.connect("other")
        await device.exchange(Subscribe(1, (("t", 1),)))
        await other.exchange(message("t", 1))
        assert topics(await device.hears()) == ["t"]
        await device.close()
        await asyncio.sleep(QUIET_SECONDS)
        again = await stock.arrive()
        assert topics(await again.exchange(Connect("dev1", clean_session=False, user_name="user"))) == []

    async def test_ours_lets_the_gateway_send_it_again(self, front: Front) -> None:
        front.gateway.on_opened = lambda session: [PublishAction(session.key, "t", b"x", 1, "token")]
        for _ in range(2):
            answer = await front.attempt(connect_packet("dev1", clean_session=False))
            assert answer == [ACCEPTED, message("t", 1)]
        assert front.gateway.named("acknowledged") == []

    async def test_stock_delivers_a_queued_qos_0_message_with_qos_1(self, stock: Stock) -> None:
        device, other = await stock.connect("dev1", clean_session=False), await stock.connect("other")
        await device.exchange(Subscribe(1, (("t", 1),)))
        await device.exchange(Disconnect())
        await device.close()
        await other.exchange(message("t"))
        again = await stock.arrive()
        answer = await again.exchange(Connect("dev1", clean_session=False, user_name="user"))
        assert [packet.qos for packet in answer if isinstance(packet, Publish)] == [1]


class TestCost:
    """J."""

    def tasks_made(self) -> list[object]:
        made: list[object] = []

        def make(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> "asyncio.Task[Any]":
            made.append(coroutine)
            return asyncio.Task(coroutine, loop=loop, **options)

        asyncio.get_running_loop().set_task_factory(make)
        return made

    async def test_stock_makes_a_task_for_each_packet(self, stock: Stock) -> None:
        device = await stock.connect("dev1")
        made = self.tasks_made()
        await device.exchange(*(message("t", n) for n in range(1, 51)))
        assert len(made) >= 50

    async def test_ours_makes_none(self, front: Front) -> None:
        device = await front.connect("dev1")
        made = self.tasks_made()
        answer = await device.exchange(*(message("t", n) for n in range(1, 51)), Pingreq(), Subscribe(51, (("t", 0),)))
        assert len(answer) == 52
        assert made == []

    async def test_ours_makes_a_few_for_each_connect(self, front: Front) -> None:
        made = self.tasks_made()
        await front.connect("dev1")
        assert len(made) <= 2

    async def test_stock_session_has_a_state_machine_and_ours_does_not(self, front: Front) -> None:
        assert isinstance(AmqttSession().transitions, Machine)
        client = await front.connect("dev1")
        session, _ = front.broker._sessions["hub/dev1"]
        assert not hasattr(session, "transitions")
        assert set(vars(session)) == {"connection", "client_id", "clean_session", "outcome"}
        assert vars(session)["connection"] is client.connection


class TestPlugins:
    """The authentication and the topic plugin of ours, as amqtt would ask them."""

    async def test_topic_plugin_asks_the_gateway_and_never_lets_a_device_publish_to_others(self, front: Front) -> None:
        await front.connect("dev1")
        session, _ = front.broker._sessions["hub/dev1"]
        asked = [
            (session, "allowed/#", Action.SUBSCRIBE, True),
            (session, "forbidden/#", Action.SUBSCRIBE, False),
            (session, "allowed/topic", Action.PUBLISH, False),
            (session, "allowed/topic", Action.RECEIVE, False),
            (AmqttSession(), "allowed/#", Action.SUBSCRIBE, False),
        ]
        for who, topic, action, allowed in asked:
            assert await front.broker._topic_filtering(who, topic, action) is allowed, (topic, action)

    async def test_session_that_is_not_authenticated_may_subscribe_to_nothing(self, front: Front) -> None:
        session = ConnectionSession(front.arrive().connection)
        assert not await front.broker._topic_filtering(session, "allowed/#", Action.SUBSCRIBE)

    async def test_session_that_is_not_ours_is_not_authenticated(self, front: Front) -> None:
        assert not await front.broker._authenticate(AmqttSession(), front.broker.listeners_config[LISTENER])

    async def test_gateway_that_fails_at_connect_costs_that_connection_only(
        self, front: Front, caplog: pytest.LogCaptureFixture
    ) -> None:
        other = await front.connect("dev2")
        front.gateway.fails_in.add("connect")
        client = front.arrive()
        assert await client.exchange(connect_packet("dev1"), turns=CONNECT_TURNS) == []
        assert client.transport.aborted
        assert "the stub fails in connect" in caplog.text
        assert await other.exchange(Pingreq()) == [Pingresp()]
        assert front.broker._adoptions == set()

    async def test_error_in_accepting_drops_the_connection_and_its_session(
        self, front: Front, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = front.arrive()
        client.send(connect_packet("dev1"), message("t", 1))
        monkeypatch.setattr(Connection, "_receive", lambda connection, packet: 1 / 0)
        await client.settle(CONNECT_TURNS)
        assert client.transport.aborted
        assert "CONNECT failed" in caplog.text
        assert front.broker.connected == 0
        assert len(front.gateway.named("disconnected")) == 1

    async def test_client_that_left_while_it_was_asked_about_leaves_no_session(self, front: Front) -> None:
        client = front.arrive()
        client.send(replace(connect_packet("dev1"), keep_alive_seconds=1))
        client.transport.close()
        await client.settle(CONNECT_TURNS)
        assert front.broker.connected == 0
        assert front.broker._connections == set()

    async def test_nobody_is_asked_about_a_client_that_left(self, front: Front) -> None:
        """Who is let in but never gets its CONNACK would be waited for."""
        client = front.arrive()
        client.send(connect_packet("dev1"))
        client.connection.connection_lost(None)
        await client.settle(CONNECT_TURNS)
        assert front.gateway.named("connect") == []
        assert front.broker.connected == 0

    async def test_user_name_of_nobody_is_refused(self, front: Front) -> None:
        assert await front.attempt(Connect("dev1", user_name="elsewhere/dev1")) == [NOT_AUTHORIZED]

    async def test_deadline_handling_that_fails_leaves_the_others_alone(
        self, front: Front, caplog: pytest.LogCaptureFixture
    ) -> None:
        device = await front.connect("dev1", keep_alive_seconds=1)
        front.gateway.fails_in.add("tick")
        front.silence(2)
        assert "deadline handling failed" in caplog.text
        assert device.transport.aborted
