"""Hostile, broken and unlucky clients against the front door, over loopback sockets and real TLS.

Waiting is done by moving what the sweep looks at, not by sleeping.
"""

import asyncio
import gc
import socket as sockets
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from broker.connection import MAX_PACKET_BYTES, Connection
from broker.gateway import Publish as PublishAction
from broker.packets import (
    Connack,
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
from broker.tls import (
    MAX_CERTIFICATES,
    MAX_UNSENT_BYTES,
    ServerNotTrusted,
    ServerTrust,
    TlsServer,
    TlsTransport,
    client_context,
    connect_tls,
    server_context,
)
from broker.websocket import PATHS, is_upgrade, serve_websocket
from certs.authority import CertificateAuthority
from certs.keys import KeyType, generate_key
from certs.peer import PeerChain
from tests.doubles.front import Front, connect_packet
from tests.doubles.gateway import NOW, StubSession

ACCEPTED = Connack(session_present=False, return_code=0)
PATIENCE_SECONDS = 5.0


class Client:
    """A client on a TLS connection; the streams are the standard library's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._packets = PacketReader(1 << 22)
        self._heard: list[Packet] = []

    def send(self, *packets: Packet) -> None:
        self.writer.write(b"".join(format_packet(packet) for packet in packets))

    async def hear(self, count: int = 1) -> list[Packet]:
        """The next packets.

        Raises:
            EOFError: the connection ended before.
        """
        while len(self._heard) < count:
            data = await asyncio.wait_for(self.reader.read(65536), PATIENCE_SECONDS)
            if not data:
                raise EOFError
            self._heard += self._packets.feed(data)
        heard, self._heard = self._heard[:count], self._heard[count:]
        return heard

    async def exchange(self, *packets: Packet, count: int = 1) -> list[Packet]:
        self.send(*packets)
        return await self.hear(count)

    async def last_words(self) -> list[Packet]:
        """What still comes before the connection ends."""
        try:
            while data := await asyncio.wait_for(self.reader.read(65536), PATIENCE_SECONDS):
                self._heard += self._packets.feed(data)
        except ConnectionError:
            pass
        return self._heard

    async def is_alive(self) -> bool:
        return await self.exchange(Pingreq()) == [Pingresp()]

    def vanish(self) -> None:
        """Go without a word."""
        self.writer.transport.abort()


class TlsFront(Front):
    """The front on a loopback port."""

    def __init__(self, context: ssl.SSLContext, server: TlsServer) -> None:
        super().__init__()
        self._context = context
        self._clients: list[Client] = []
        self.server = server
        self.port = 0

    async def open(self) -> None:
        await self.broker.start()
        self.server._above = self.broker.connection
        self.port = await self.server.listen(["127.0.0.1"], 0)

    async def close(self) -> None:
        for client in self._clients:
            client.vanish()
        await self.server.close()
        await self.broker.shutdown()
        await self.until(lambda: not self.broker._connections)

    async def tcp(self) -> Client:
        """A client that has not begun its handshake."""
        return self._kept(Client(*await asyncio.open_connection("127.0.0.1", self.port)))

    async def secure(self) -> Client:
        """A client past its handshake."""
        streams = await asyncio.open_connection("127.0.0.1", self.port, ssl=self._context, server_hostname="localhost")
        return self._kept(Client(*streams))

    def _kept(self, client: Client) -> Client:
        self._clients.append(client)
        return client

    async def device(self, client_id: str, *, clean_session: bool = True, keep_alive_seconds: int = 0) -> Client:
        """A client past its CONNACK."""
        client = await self.secure()
        assert await client.exchange(connect_packet(client_id, clean_session, keep_alive_seconds)) == [ACCEPTED]
        return client

    def publish(self, client_id: str, payload: bytes = b"x", qos: int = 0, token: str = "") -> None:
        self.broker.perform([PublishAction(f"hub/{client_id}", "to/device", payload, qos, token)])

    @staticmethod
    async def until(condition: Callable[[], object]) -> None:
        """Wait for what the other end of a socket brings about."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():  # noqa: ASYNC110 - it is the network that is waited for
                await asyncio.sleep(0.001)


@pytest.fixture(scope="module")
def ca() -> CertificateAuthority:
    return CertificateAuthority.create_root("server CA", datetime.now(UTC), key_type=KeyType.P256)


@pytest.fixture(scope="module")
def issued(ca: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The server's certificate, and a device's as a file with its key."""
    now, day = datetime.now(UTC), timedelta(days=1)
    server_key, device_key = generate_key(KeyType.P256), generate_key(KeyType.P256)
    server = ca.issue_server(["localhost"], server_key.public_key(), now, validity=day)
    device = ca.issue_onboarding("dev1", device_key.public_key(), now, validity=day)
    pem: Path = tmp_path_factory.mktemp("device") / "device.pem"
    secret = device_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem.write_bytes(secret + device.public_bytes(Encoding.PEM))
    return SimpleNamespace(server=(server, server_key), device=device, device_pem=pem)


@pytest.fixture(scope="module")
def trusting(ca: CertificateAuthority) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=ca.certificate.public_bytes(Encoding.PEM).decode())


@pytest.fixture
async def front(issued: SimpleNamespace, trusting: ssl.SSLContext) -> AsyncIterator[TlsFront]:
    front = TlsFront(trusting, TlsServer(server_context([issued.server]), asyncio.Protocol))
    await front.open()
    yield front
    await front.close()


class TestBeforeConnect:
    @pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01\x00"], ids=["half-open", "slow-loris"])
    async def test_unfinished_handshake_is_swept(self, front: TlsFront, sent: bytes) -> None:
        """A client that opens a connection and gets on with its handshake too slowly is closed."""
        client = await front.tcp()
        client.writer.write(sent)
        await front.until(lambda: front.server._handshaking)
        front.server.sweep()
        assert front.server._handshaking
        for transport in front.server._handshaking:
            front.server._handshaking[transport] -= 21
        front.server.sweep()
        assert await client.last_words() == []
        await front.until(lambda: not front.server._handshaking)

    async def test_no_connect_in_time_is_swept(self, front: TlsFront) -> None:
        """A client past its handshake that never says who it is does not stay."""
        client = await front.secure()
        await front.until(lambda: front.broker._connections)
        front.silence(61)
        assert await client.last_words() == []

    async def test_dripping_connect_buys_no_time(self, front: TlsFront) -> None:
        """Bytes of a CONNECT that never ends are no sign of life."""
        client = await front.secure()
        for byte in format_packet(connect_packet("dev1"))[:-1]:
            client.writer.write(bytes((byte,)))
        await front.until(lambda: any(each._bytes_before_connack > 20 for each in front.broker._connections))
        front.silence(61)
        assert await client.last_words() == []

    @pytest.mark.parametrize(
        "sent",
        [
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"\x00" * 100,
            b"\xff" * 100,
            b"\x10\xff\xff\xff\x7f" + b"x" * 1000,
            b"\x10\xff\xff\xff\xff\x01",
            format_packet(Pingreq()),
            format_packet(Publish("a", b"x", 1, packet_id=1)),
            format_packet(Subscribe(1, (("#", 0),))),
        ],
        ids=["HTTP", "zeros", "ones", "oversized", "endless length", "PINGREQ", "PUBLISH", "SUBSCRIBE"],
    )
    async def test_anything_but_a_connect_closes_without_an_answer(self, front: TlsFront, sent: bytes) -> None:
        """The gateway does not hear of such a client, and the client hears nothing."""
        client = await front.secure()
        client.writer.write(sent + format_packet(connect_packet("dev1")))
        assert await client.last_words() == []
        assert front.gateway.calls == []

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    async def test_endless_chain_ends_the_connection_and_a_long_one_is_judged(
        self,
        front: TlsFront,
        issued: SimpleNamespace,
        ca: CertificateAuthority,
        tmp_path: Path,
        version: ssl.TLSVersion,
    ) -> None:
        """150 certificates would hold 840 KB for a minute before anybody knows the client."""
        answers = []
        for count in (MAX_CERTIFICATES, MAX_CERTIFICATES + 1):
            pem = tmp_path / "long.pem"
            issuer = ca.certificate.public_bytes(Encoding.PEM)
            pem.write_bytes(issued.device_pem.read_bytes() + issuer * (count - 1))
            context = ssl.create_default_context(cadata=issuer.decode())
            context.minimum_version = context.maximum_version = version
            context.load_cert_chain(pem)
            streams = await asyncio.open_connection("127.0.0.1", front.port, ssl=context, server_hostname="localhost")
            client = front._kept(Client(*streams))
            client.send(connect_packet("dev1"))
            client.send(Disconnect())
            answers.append(await client.last_words())
        assert answers == [[ACCEPTED], []]
        assert [len(each.peer_chain.der) for each in front.gateway.requests] == [MAX_CERTIFICATES]

    @pytest.mark.skipif(not hasattr(sockets, "TCP_QUICKACK"), reason="the system has no such option")
    async def test_end_of_a_tls_13_handshake_is_acknowledged_at_once(self, front: TlsFront) -> None:
        """The server says nothing back, and a client with Nagle's algorithm on would hold its CONNECT for 40 ms."""
        await front.secure()
        await front.until(lambda: front.broker._connections)
        (connection,) = front.broker._connections
        assert connection._transport.get_extra_info("socket").getsockopt(sockets.IPPROTO_TCP, sockets.TCP_QUICKACK) == 1

    async def test_plain_text_on_the_tls_port_is_closed(self, front: TlsFront) -> None:
        """MQTT without TLS is not spoken."""
        client = await front.tcp()
        client.send(connect_packet("dev1"))
        with pytest.raises(EOFError):
            while True:
                await client.reader.readexactly(1)
        await front.until(lambda: not front.server._handshaking)
        assert front.gateway.calls == []


class TestOpenConnection:
    async def test_oversized_packet_closes(self, front: TlsFront) -> None:
        """A packet over the limit is refused at its header."""
        device = await front.device("dev1")
        device.writer.write(format_packet(Publish("a", bytes(MAX_PACKET_BYTES), 1, packet_id=1))[:8])
        assert await device.last_words() == []

    async def test_second_connect_closes(self, front: TlsFront) -> None:
        """MQTT 3.1.1 §3.1.0-2."""
        device = await front.device("dev1")
        device.send(connect_packet("dev1"), Pingreq())
        assert await device.last_words() == []
        assert len(front.gateway.named("connect")) == 1

    async def test_client_that_never_reads_is_aborted_with_bounded_memory(self, front: TlsFront) -> None:
        """What waits for a client is bounded whatever is sent to it."""
        device, other = await front.device("dev1"), await front.device("dev2")
        (connection,) = (each for each in front.broker._connections if each.session.key == "hub/dev1")
        transport, payload, most = connection._transport, bytes(256 * 1024), 0
        for _ in range(200):
            front.publish("dev1", payload)
            await asyncio.sleep(0)
            most = max(most, transport.get_write_buffer_size())
            if transport.is_closing():
                break
        assert transport.is_closing()
        assert most <= MAX_UNSENT_BYTES + 2 * len(payload)
        await front.until(lambda: front.broker.connected == 1)
        assert await other.is_alive()
        assert not device.writer.is_closing()  # it never noticed

    async def test_client_that_does_not_take_its_last_bytes_is_dropped(self, front: TlsFront) -> None:
        """A connection that was closed in good order does not linger behind a client that reads nothing."""
        await front.device("dev1")
        (connection,) = front.broker._connections
        transport = connection._transport
        while transport.get_write_buffer_size() < 1 << 20:
            front.publish("dev1", bytes(256 * 1024))
            await asyncio.sleep(0)
        connection.close("because")
        await asyncio.sleep(0)
        front.silence(9)
        await asyncio.sleep(0.01)
        assert front.broker.connected == 1
        front.silence(2)
        await front.until(lambda: front.broker.connected == 0)

    async def test_hundreds_of_subscriptions_leave_nothing_in_the_broker(self, front: TlsFront) -> None:
        """The gateway decides how many it keeps; the broker keeps none."""
        device = await front.device("dev1")
        device.send(*(Subscribe(n, ((f"filter/{n}/#", 1),)) for n in range(1, 501)))
        assert await device.hear(500) == [Suback(n, (1,)) for n in range(1, 501)]
        assert front.broker._subscriptions == {}
        assert await device.is_alive()

    async def test_packet_ids_are_used_again_after_their_acknowledgement(self, front: TlsFront) -> None:
        """All 65,535 packet identifiers may be used up: the next is 1 again."""
        device = await front.device("dev1")
        (connection,) = front.broker._connections
        connection._last_packet_id = 65534
        for packet_id in (65535, 1, 2):
            front.publish("dev1", qos=1, token=f"token {packet_id}")
            (heard,) = await device.hear()
            assert isinstance(heard, Publish)
            assert heard.packet_id == packet_id
            assert await device.exchange(Puback(packet_id), Pingreq()) == [Pingresp()]
        assert front.gateway.named("acknowledged") == [("hub/dev1", f"token {n}") for n in (65535, 1, 2)]

    async def test_puback_with_unknown_id_is_ignored(self, front: TlsFront) -> None:
        """A client cannot acknowledge what it was not sent."""
        device = await front.device("dev1")
        assert await device.exchange(*(Puback(n) for n in (1, 2, 65535)), Pingreq()) == [Pingresp()]
        assert front.gateway.named("acknowledged") == []

    async def test_keep_alive_is_enforced(self, front: TlsFront) -> None:
        """A client silent for over 1.5 times its keep-alive is dropped and leaves its will."""
        device, other = await front.device("dev1", keep_alive_seconds=10), await front.device("dev2")
        front.silence(14.9)
        assert await device.is_alive()
        front.silence(15.1)
        assert await device.last_words() == []
        assert [key for key, _ in front.gateway.named("disconnected")] == ["hub/dev1"]
        assert await other.is_alive()

    async def test_expired_credential_ends_the_connection(self, front: TlsFront) -> None:
        """A SAS token's end is the connection's end, by the emulator's clock."""
        front.gateway.session = lambda request: StubSession(
            f"hub/{request.client_id}", request.client_id, expires_at=NOW + timedelta(minutes=1)
        )
        device = await front.device("dev1")
        front.now = NOW + timedelta(seconds=59)
        front.broker.sweep()
        assert await device.is_alive()
        front.now = NOW + timedelta(seconds=60)
        front.broker.sweep()
        assert await device.last_words() == []
        await front.until(lambda: front.broker.connected == 0)


class TestSessions:
    @pytest.mark.parametrize("clean_session", [True, False])
    async def test_refused_connect_does_nothing_to_the_sessions_owner(
        self, front: TlsFront, clean_session: bool
    ) -> None:
        """Whoever is refused with a victim's client ID leaves the victim's connection as it was."""
        victim = await front.device("dev1", clean_session=False)
        front.gateway.refused.add("dev1")
        for _ in range(3):
            attacker = await front.secure()
            attacker.send(connect_packet("dev1", clean_session), Publish("a", b"forged", 1, packet_id=1), Disconnect())
            assert await attacker.last_words() == [Connack(session_present=False, return_code=5)]
        front.publish("dev1")
        assert await victim.hear() == [Publish("to/device", b"x")]
        assert await victim.is_alive()
        assert {call[0] for call in front.gateway.calls} == {"connect", "opened"}

    async def test_take_over_closes_the_old_and_keeps_the_new(self, front: TlsFront) -> None:
        """Of two connections with one session key the second lives."""
        first = await front.device("dev1")
        second = await front.device("dev1")
        assert await first.last_words() == []
        await front.until(lambda: len(front.broker._connections) == 1)
        front.publish("dev1")
        assert await second.exchange(Pingreq(), count=2) == [Publish("to/device", b"x"), Pingresp()]
        assert len(front.gateway.named("disconnected")) == 1
        assert front.broker.connected == 1

    async def test_storm_of_take_overs_leaves_one(self, front: TlsFront) -> None:
        """Fifty connections with one client ID at once: one stays, and it works."""
        clients = await asyncio.gather(*(front.secure() for _ in range(50)))
        for client in clients:
            client.send(connect_packet("dev1"))
        await front.until(lambda: len(front.broker._connections) == 1)
        answers = [await client.last_words() for client in clients if not await self._answers_ping(client)]
        assert len(answers) == 49
        assert front.broker.connected == 1
        assert len(front.gateway.named("opened")) == 50
        assert len(front.gateway.named("disconnected")) == 49

    async def _answers_ping(self, client: Client) -> bool:
        client.send(Pingreq())
        try:
            return Pingresp() in await client.hear(2)
        except (EOFError, ConnectionError):
            return False

    async def test_thousand_connections_that_come_and_go_leave_nothing(self, front: TlsFront) -> None:
        """Sessions, tasks, handshakes and objects are all given back, however a client goes."""
        for generation in range(2):
            if generation:
                before = self._live_objects()
            for start in range(0, 500, 25):
                clients = await asyncio.gather(*(front.secure() for _ in range(25)))
                for n, client in enumerate(clients):
                    client.send(connect_packet(f"dev{start + n}"))
                for n, client in enumerate(clients):
                    if n % 3:
                        await client.hear()
                    if n % 2:
                        client.send(Disconnect())
                        await client.last_words()
                    client.vanish()
                front._clients.clear()
            clients, client = [], None
            await front.until(lambda: not front.broker._connections and not front.broker._adoptions)
            assert front.broker._sessions == {}
            assert front.broker.outbox._waiting == {}
            assert front.server._handshaking == {}
            front.gateway.calls.clear()
            front.gateway.requests.clear()
        await asyncio.sleep(0.05)
        after = self._live_objects()
        assert after["ours"] == 0
        assert after["tasks"] <= before["tasks"]
        assert after["all"] - before["all"] < 500  # 500 connections more came and went

    @staticmethod
    def _live_objects() -> dict[str, int]:
        gc.collect()
        objects = gc.get_objects()
        ours = sum(isinstance(each, Connection | TlsTransport) for each in objects)
        return {"ours": ours, "tasks": len(asyncio.all_tasks()), "all": len(objects)}


class TestFailures:
    @pytest.mark.parametrize("call", ["connect", "opened", "receive", "may_subscribe", "subscribed", "disconnected"])
    async def test_gateway_that_fails_costs_one_connection(self, front: TlsFront, call: str) -> None:
        """An error in a core closes the connection it happened on and no other."""
        other = await front.device("dev2")
        front.gateway.fails_in.add(call)
        client = await front.secure()
        client.send(connect_packet("dev1"), Publish("a", b"x", 1, packet_id=1), Subscribe(2, (("a", 0),)), Disconnect())
        heard = await client.last_words()
        assert Puback(1) not in heard or call not in ("connect", "opened", "receive")
        assert Suback(2, (0,)) not in heard or call == "disconnected"
        await front.until(lambda: front.broker.connected == 1)
        front.gateway.fails_in.clear()
        assert await other.exchange(Publish("a", b"x", 1, packet_id=1)) == [Puback(1)]

    async def test_failed_commit_drops_who_waits_and_the_next_packet_works(self, front: TlsFront) -> None:
        """Nobody is told of what was not stored; who asks again is served."""
        waiting, quiet = await front.device("dev1"), await front.device("dev2")
        front.commit_fails = True
        waiting.send(Publish("a", b"x", 1, packet_id=1))
        assert await waiting.last_words() == []
        front.commit_fails = False
        assert await quiet.exchange(Publish("a", b"x", 1, packet_id=7)) == [Puback(7)]
        again = await front.device("dev1")
        assert await again.exchange(Publish("a", b"x", 1, packet_id=1)) == [Puback(1)]

    async def test_connect_whose_commit_fails_is_not_accepted(self, front: TlsFront) -> None:
        """CONNACK rests on the commit as everything does."""
        front.commit_fails = True
        client = await front.secure()
        client.send(connect_packet("dev1"))
        assert await client.last_words() == []
        front.commit_fails = False
        await front.until(lambda: front.broker.connected == 0)
        assert await (await front.device("dev1")).is_alive()

    async def test_no_answer_leaves_before_its_commit(self, front: TlsFront, monkeypatch: pytest.MonkeyPatch) -> None:
        """Between taking a message and writing its PUBACK there is always a commit."""
        device = await front.device("dev1")
        log: list[str] = []
        write, commit, receive = TlsTransport.write, front.commit, front.gateway.receive

        def log_write(transport: TlsTransport, data: bytes) -> None:
            log.append("write")
            write(transport, data)

        def log_commit() -> None:
            log.append("commit")
            commit()

        def log_receive(*arguments: object, **named: object) -> list[object]:
            log.append("receive")
            return receive(*arguments, **named)  # type: ignore[arg-type, return-value]

        monkeypatch.setattr(TlsTransport, "write", log_write)
        monkeypatch.setattr(front.broker.outbox, "_commit", log_commit)
        monkeypatch.setattr(front.gateway, "receive", log_receive)
        for packet_id in range(1, 21):
            device.send(Publish("a", b"x", 1, packet_id=packet_id))
            if packet_id % 3 == 0:
                await asyncio.sleep(0.002)
        assert await device.hear(20) == [Puback(n) for n in range(1, 21)]
        assert log.count("receive") == 20
        for position, event in enumerate(log):
            if event == "write":
                assert log[position - 1] in ("commit", "write"), log


class TestOurClient:
    """`connect_tls` against the listener: what a device of ours does with a hostile server."""

    async def test_server_is_trusted_and_the_chain_reaches_the_gateway(
        self, front: TlsFront, ca: CertificateAuthority, issued: SimpleNamespace
    ) -> None:
        """The happy end, so that the refusals below mean something."""
        trust = ServerTrust([ca.certificate])
        transport = await connect_tls("localhost", front.port, asyncio.Protocol, context=client_context(), trust=trust)
        assert transport.established
        transport.abort()

    async def test_server_of_another_ca_is_not_talked_to(self, front: TlsFront) -> None:
        """Not a byte above TLS is sent."""
        other = CertificateAuthority.create_root("other CA", datetime.now(UTC), key_type=KeyType.P256)
        with pytest.raises(ServerNotTrusted):
            await connect_tls(
                "localhost",
                front.port,
                asyncio.Protocol,
                context=client_context(),
                trust=ServerTrust([other.certificate]),
            )
        assert front.gateway.calls == []

    async def test_server_that_does_not_speak_tls_is_a_connection_error(self, ca: CertificateAuthority) -> None:
        """Neither a hang nor an odd exception."""

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example ESMTP\r\n")
            writer.close()

        server = await asyncio.start_server(speak, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectionError, match="TLS handshake"):
            await connect_tls(
                "127.0.0.1",
                port,
                asyncio.Protocol,
                context=client_context(),
                trust=ServerTrust([ca.certificate]),
            )
        server.close()
        await server.wait_closed()

    async def test_port_in_use_is_an_os_error(self, front: TlsFront, issued: SimpleNamespace) -> None:
        """The second server on a port says so."""
        second = TlsServer(server_context([issued.server]), asyncio.Protocol)
        assert front.server.ports == (front.port,)
        with pytest.raises(OSError, match="in use"):
            await second.listen(["127.0.0.1"], front.port)


class WebFront:
    """MQTT over WebSocket on a loopback port, beside the front's own."""

    def __init__(self, front: TlsFront, issued: SimpleNamespace, trusting: ssl.SSLContext) -> None:
        self.front = front
        self.gateway = front.gateway
        self._web = web.Server(self._handle, access_log=None)  # type: ignore[arg-type]
        self._tls = TlsServer(server_context([issued.server]), self._web)
        self.client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting))
        self.port = 0

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if is_upgrade(request) and request.path in PATHS:
            return await serve_websocket(request, self.front.broker.connection)
        return web.Response(status=404)

    async def open(self) -> None:
        self.port = await self._tls.listen(["127.0.0.1"], 0)

    async def close(self) -> None:
        await self.client.close()
        await self.front.until(lambda: not self.front.broker._connections)
        await self._tls.close()
        await self._web.shutdown(timeout=1)

    async def socket(
        self, path: str = PATHS[0], protocol: str | None = "mqtt", context: ssl.SSLContext | bool = True
    ) -> aiohttp.ClientWebSocketResponse:
        return await self.client.ws_connect(
            f"wss://localhost:{self.port}{path}", protocols=(protocol,) if protocol else (), ssl=context
        )


@pytest.fixture
async def web_front(front: TlsFront, issued: SimpleNamespace, trusting: ssl.SSLContext) -> AsyncIterator[WebFront]:
    web_front = WebFront(front, issued, trusting)
    await web_front.open()
    yield web_front
    await web_front.close()


async def hear(socket: aiohttp.ClientWebSocketResponse) -> list[Packet]:
    return list(PacketReader(1 << 20).feed(await socket.receive_bytes(timeout=PATIENCE_SECONDS)))


CONNECT = format_packet(connect_packet("dev1"))


class TestWebSocket:
    @pytest.mark.parametrize("path", [*PATHS, f"{PATHS[0]}?iothub-no-client-cert=true", "/?x=%2F"])
    @pytest.mark.parametrize("protocol", ["mqtt", "MQTT", "Mqtt"])
    async def test_both_paths_any_query_and_the_subprotocol_as_offered(
        self, web_front: WebFront, path: str, protocol: str
    ) -> None:
        """The C SDK compares the echoed subprotocol with the upper-case text it sent."""
        async with await web_front.socket(path, protocol) as socket:
            assert socket.protocol == protocol
            await socket.send_bytes(CONNECT)
            assert await hear(socket) == [ACCEPTED]

    @pytest.mark.parametrize("protocol", [None, "amqp", "mqttv5"])
    async def test_other_subprotocol_is_a_bad_request(self, web_front: WebFront, protocol: str | None) -> None:
        """What cannot be MQTT is refused before the upgrade."""
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await web_front.socket(protocol=protocol)
        assert refused.value.status == 400

    async def test_mqtt_is_found_among_several_subprotocols(self, web_front: WebFront) -> None:
        """Clients may offer more than one."""
        url = f"wss://localhost:{web_front.port}/"
        async with web_front.client.ws_connect(url, protocols=("amqp", "mqtt")) as socket:
            assert socket.protocol == "mqtt"

    async def test_packet_may_span_frames(self, web_front: WebFront) -> None:
        """MQTT 3.1.1 §6.0.0-2."""
        async with await web_front.socket() as socket:
            for byte in CONNECT:
                await socket.send_bytes(bytes((byte,)))
            assert await hear(socket) == [ACCEPTED]

    async def test_packets_may_share_a_frame(self, web_front: WebFront) -> None:
        """MQTT 3.1.1 §6.0.0-2, the other way round."""
        async with await web_front.socket() as socket:
            await socket.send_bytes(CONNECT + format_packet(Pingreq()) * 2)
            heard = await hear(socket)
            while len(heard) < 3:
                heard += await hear(socket)
            assert heard == [ACCEPTED, Pingresp(), Pingresp()]

    async def test_text_frame_closes(self, web_front: WebFront) -> None:
        """MQTT 3.1.1 §6.0.0-1."""
        async with await web_front.socket() as socket:
            await socket.send_bytes(CONNECT)
            await hear(socket)
            await socket.send_str("PINGREQ")
            assert (await socket.receive(timeout=PATIENCE_SECONDS)).type is WSMsgType.CLOSE
        assert len(web_front.gateway.named("disconnected")) == 1

    async def test_refused_client_hears_why_and_is_closed(self, web_front: WebFront) -> None:
        """CONNACK goes out before the close."""
        web_front.gateway.refused.add("dev1")
        async with await web_front.socket() as socket:
            await socket.send_bytes(CONNECT)
            assert await hear(socket) == [Connack(session_present=False, return_code=5)]
            assert (await socket.receive(timeout=PATIENCE_SECONDS)).type is WSMsgType.CLOSE

    @pytest.mark.parametrize("orderly", [True, False])
    async def test_clients_end_reaches_the_gateway(self, web_front: WebFront, orderly: bool) -> None:
        """However the client goes, its session is gone."""
        socket = await web_front.socket()
        await socket.send_bytes(CONNECT)
        await hear(socket)
        if orderly:
            await socket.close()
        else:
            socket._response.connection.transport.abort()  # type: ignore[union-attr]
        await web_front.front.until(lambda: web_front.gateway.named("disconnected"))
        assert web_front.front.broker.connected == 0
        await socket.close()

    async def test_oversized_frame_closes(self, web_front: WebFront) -> None:
        """A frame is bounded as a packet is."""
        async with await web_front.socket() as socket:
            await socket.send_bytes(CONNECT)
            await hear(socket)
            await socket.send_bytes(format_packet(Publish("a", bytes(MAX_PACKET_BYTES), 1, packet_id=1)))
            message = await socket.receive(timeout=PATIENCE_SECONDS)
            assert message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR)
        await web_front.front.until(lambda: web_front.front.broker.connected == 0)

    async def test_client_that_never_reads_is_aborted(self, web_front: WebFront) -> None:
        """Neither its memory nor its connection stays, though a frame to it can never be sent."""
        socket = await web_front.socket()
        await socket.send_bytes(CONNECT)
        await hear(socket)
        socket._response.connection.transport.pause_reading()  # type: ignore[union-attr]
        for _ in range(200):
            web_front.front.publish("dev1", bytes(256 * 1024))
            await asyncio.sleep(0)
        await web_front.front.until(lambda: web_front.front.broker.connected == 0)
        socket._response.connection.transport.abort()  # type: ignore[union-attr]
        await socket.close()

    async def test_client_that_pings_without_reading_and_vanishes_is_no_error(
        self, web_front: WebFront, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Answers to its pings wait for it when it goes; that is its trouble, not ours."""
        socket = await web_front.socket()
        await socket.send_bytes(CONNECT)
        await hear(socket)
        (connection,) = web_front.front.broker._connections
        transport = socket._response.connection.transport  # type: ignore[union-attr]
        end = transport.get_extra_info("socket")
        transport.pause_reading()
        end.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        connection._transport._below.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 4096)
        for _ in range(3000):
            await socket.ping(bytes(125))
        await asyncio.sleep(0.05)
        end.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        await web_front.front.until(lambda: web_front.front.broker.connected == 0)
        await asyncio.sleep(0.05)
        assert [each for each in caplog.records if each.levelname == "ERROR"] == []
        await socket.close()

    async def test_silent_client_is_dropped(self, web_front: WebFront) -> None:
        """The sweep reaches through the WebSocket to the connection below."""
        socket = await web_front.socket()
        await socket.send_bytes(CONNECT)
        await hear(socket)
        web_front.front.silence(1768)
        assert (await socket.receive(timeout=PATIENCE_SECONDS)).type in (WSMsgType.CLOSED, WSMsgType.ERROR)
        await web_front.front.until(lambda: web_front.front.broker.connected == 0)

    async def test_peer_chain_of_the_tls_connection_reaches_the_gateway(
        self, web_front: WebFront, issued: SimpleNamespace, ca: CertificateAuthority
    ) -> None:
        """Certificates work over WebSocket as over MQTT."""
        context = ssl.create_default_context(cadata=ca.certificate.public_bytes(Encoding.PEM).decode())
        context.load_cert_chain(issued.device_pem)
        async with await web_front.socket(context=context) as socket:
            await socket.send_bytes(CONNECT)
            await hear(socket)
            (connection,) = web_front.front.broker._connections
            transport = connection._transport
            assert transport is not None
            assert not transport.get_extra_info("peer_chain"), "forgotten once it was judged"
            assert not transport._below.get_extra_info("peer_chain")  # type: ignore[attr-defined]
        (request,) = web_front.gateway.requests
        # The standard library sends along the issuer that it knows.
        chain = (issued.device, ca.certificate)
        assert request.peer_chain == PeerChain(tuple(each.public_bytes(Encoding.DER) for each in chain))
        assert request.remote.startswith("127.0.0.1:")
