"""What `TcpLink` and `TlsServer` rely on of the loop and of sockets, and what the protocols above rely on of them."""

import asyncio
import resource
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import Any

import pytest

from broker.tls import TlsServer, refusing_context
from broker.tls.tcp_link import HIGH_WATER_BYTES, LOW_WATER_BYTES, TcpLink
from device_sim import tcp_socket
from device_sim.tcp_socket import begin_connecting, connect, open_socket


class Above(asyncio.BufferedProtocol):
    """Keeps what it hears and what happens to it."""

    def __init__(self) -> None:
        self.link: Any = None
        self.heard = b""
        self.events: list[str] = []
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self._buffer = bytearray(100)

    def connection_made(self, transport: Any) -> None:
        self.link = transport
        self.events.append("made")

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._buffer)

    def buffer_updated(self, nbytes: int) -> None:
        self.heard += self._buffer[:nbytes]

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    mine, peer = socket.socketpair()
    mine.setblocking(False)
    peer.settimeout(5)
    yield mine, peer
    mine.close()
    peer.close()


def started(sock: socket.socket) -> tuple[TcpLink, Above]:
    above = Above()
    link = TcpLink(sock, above)
    link.start()
    assert above.link is link
    return link, above


async def soon(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is awaited belongs to the operating system
            await asyncio.sleep(0.001)


async def test_bytes_pass_both_ways(ends: Any) -> None:
    mine, peer = ends
    link, above = started(mine)
    link.write(b"request")
    assert peer.recv(100) == b"request"
    peer.send(b"x" * 250)
    await soon(lambda: len(above.heard) == 250)
    link.close()
    assert await above.lost is None
    assert peer.recv(100) == b""
    assert mine.fileno() == -1


async def test_what_cannot_be_sent_yet_follows_and_the_protocol_is_paused_meanwhile(ends: Any) -> None:
    mine, peer = ends
    link, above = started(mine)
    sent = b"".join(bytes([number % 251]) * 1000 for number in range(3000))
    for start in range(0, len(sent), 100_000):
        link.write(sent[start : start + 100_000])
    assert link.get_write_buffer_size() > HIGH_WATER_BYTES
    link.close()
    link.write(b"too late")
    assert link.is_closing()
    heard = b""
    while len(heard) < len(sent):
        await asyncio.sleep(0)
        heard += peer.recv(200_000)
        assert "resume" not in above.events or link.get_write_buffer_size() < LOW_WATER_BYTES
    assert heard == sent
    assert await above.lost is None
    assert above.events == ["made", "pause", "resume"]
    assert peer.recv(10) == b""


async def test_peer_that_closes_ends_the_link_once(ends: Any) -> None:
    mine, peer = ends
    link, above = started(mine)
    peer.close()
    assert await above.lost is None
    link.close()
    link.abort()
    link.write(b"x")
    await asyncio.sleep(0.01)


async def test_abort_drops_what_is_unsent(ends: Any) -> None:
    mine, _peer = ends
    link, above = started(mine)
    link.write(b"x" * 5_000_000)
    link.abort()
    assert link.get_write_buffer_size() == 0
    assert await above.lost is None


async def test_write_to_a_peer_that_is_gone_ends_the_link_with_the_error(ends: Any) -> None:
    mine, peer = ends
    above = Above()
    link = TcpLink(mine, above)
    peer.close()
    link.write(b"x")
    link.write(b"x")
    assert isinstance(await above.lost, BrokenPipeError)


async def test_protocol_may_close_while_it_is_handed_the_link(ends: Any) -> None:
    class Hasty(Above):
        def connection_made(self, transport: Any) -> None:
            transport.abort()

    above = Hasty()
    TcpLink(ends[0], above).start()
    assert await above.lost is None


async def test_protocol_that_fails_hears_no_more(ends: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Above):
        def buffer_updated(self, nbytes: int) -> None:
            super().buffer_updated(nbytes)
            raise RuntimeError("in the middle of a packet")

    mine, peer = ends
    above = Failing()
    TcpLink(mine, above).start()
    peer.send(b"one")
    assert isinstance(await above.lost, RuntimeError)
    assert peer.recv(10) == b""
    assert above.heard == b"one"
    assert "connection dropped: internal error" in caplog.text


async def test_nothing_is_read_while_it_is_paused(ends: Any) -> None:
    mine, peer = ends
    link, above = started(mine)
    link.pause_reading()
    link.pause_reading()
    assert not link.is_reading()
    peer.send(b"early")
    await asyncio.sleep(0.01)
    assert above.heard == b""
    link.resume_reading()
    assert link.is_reading()
    await soon(lambda: above.heard == b"early")
    link.abort()
    link.resume_reading()
    assert not link.is_reading()


# --- accepting ---


@pytest.fixture
async def server() -> AsyncIterator[TlsServer]:
    server = TlsServer(refusing_context(), asyncio.Protocol)
    await server.listen(("127.0.0.1",), 0)
    yield server
    await server.close()


async def test_accepted_connection_has_no_delay_and_knows_its_peer(server: TlsServer) -> None:
    """TCP_NODELAY passes from the listening socket on."""
    with socket.create_connection(("127.0.0.1", server.ports[0])) as client:
        await soon(lambda: server._handshaking)
        (transport,) = server._handshaking
        accepted = transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert not accepted.getblocking()
        assert transport.get_extra_info("peername") == client.getsockname()


async def test_storm_is_accepted_in_portions(server: TlsServer) -> None:
    """So that those who are there already have their turn between them."""
    clients = [socket.create_connection(("127.0.0.1", server.ports[0])) for _ in range(200)]
    assert len(server._handshaking) == 0
    server._accept_from(server._listening[0])
    assert len(server._handshaking) == 128
    await soon(lambda: len(server._handshaking) == 200)
    for each in clients:
        each.close()


async def test_listener_comes_back_when_files_are_free_again(
    server: TlsServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Out of file descriptors the door shuts for a while instead of spinning, and says why."""
    monkeypatch.setattr("broker.tls.server._ACCEPT_AGAIN_SECONDS", 0.01)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as client:
        # Below the number of what is open: nothing more may be.
        resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, limits[1]))
        try:
            client.connect(("127.0.0.1", server.ports[0]))
            await soon(lambda: "no connection accepted" in caplog.text)
            assert "Too many open files" in caplog.text
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        await soon(lambda: server._handshaking)


# --- connecting ---


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


async def test_write_before_the_connection_is_there_is_not_lost(listener: socket.socket) -> None:
    above = Above()
    link = TcpLink(begin_connecting("127.0.0.1", listener.getsockname()[1]), above)
    link.start()
    link.write(b"at once")
    peer, _ = await asyncio.to_thread(listener.accept)
    with peer:
        assert await asyncio.to_thread(peer.recv, 100) == b"at once"
        assert link.get_extra_info("peername") == listener.getsockname()
        assert link.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert link.get_extra_info("compression", "none") == "none"
        link.close()
    assert await above.lost is None
    assert link.get_extra_info("peername", "gone") == "gone"


async def test_refused_connection_ends_the_link_with_the_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    above = Above()
    TcpLink(begin_connecting("127.0.0.1", port), above).start()
    assert isinstance(await above.lost, ConnectionRefusedError)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have 127.0.0.1 only")
def test_many_connections_to_this_machine_come_from_eight_of_its_addresses(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if all that come from the one address were made already, but the last.
    monkeypatch.setattr(tcp_socket, "_SOURCES", islice(tcp_socket._loopback_sources(), 3_999, None))
    sources = []
    for _ in range(1 + 16):
        with begin_connecting(*listener.getsockname()):
            peer, address = listener.accept()
            peer.close()
            sources.append(address[0])
    assert sources[0] == "127.0.0.1"
    assert set(sources[1:]) == {f"127.0.0.{number}" for number in range(1, 9)}
    assert sources[1:9] == sources[9:]


def test_connection_is_made_from_any_address_where_its_own_may_not_be_taken(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp_socket, "_SOURCES", iter(["192.0.2.1"]))
    with begin_connecting(*listener.getsockname()):
        peer, address = listener.accept()
        peer.close()
    assert address[0] == "127.0.0.1"


async def test_connection_that_fails_at_once_is_raised() -> None:
    with pytest.raises(OSError, match=r"Network is unreachable|Invalid argument|Permission denied"):
        begin_connecting("255.255.255.255", 1)


async def test_next_address_is_tried_when_one_refuses(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        dead = server.getsockname()
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in (dead, listener.getsockname())]

    async def getaddrinfo(*_: Any, **__: Any) -> Any:
        return answers

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    with await connect("some.host", 1) as sock:
        assert sock.getpeername() == listener.getsockname()
    del answers[1]
    with pytest.raises(ConnectionRefusedError):
        await connect("some.host", 1)
    answers.clear()
    with pytest.raises(OSError, match=r"some\.host has no address"):
        await connect("some.host", 1)


async def test_cancelled_connect_leaves_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[socket.socket] = []
    monkeypatch.setattr(
        "device_sim.tcp_socket.open_socket", lambda family: opened.append(open_socket(family)) or opened[-1]
    )

    async def never(*_: Any) -> None:
        await asyncio.sleep(100)

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", never)
    task = asyncio.ensure_future(connect("127.0.0.1", 1))
    await soon(lambda: opened)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert opened[0].fileno() == -1
