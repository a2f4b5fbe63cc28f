"""Listening TLS sockets."""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Final

from OpenSSL import SSL

from broker.tls.file_room import FileRoom
from broker.tls.tcp_link import TcpLink
from broker.tls.transport import TlsTransport

logger = logging.getLogger("broker")

BACKLOG: Final = 4096
# A storm of clients must not keep those waiting who are here already.
_ACCEPTED_AT_ONCE: Final = 128
# How long to leave the door shut when a client cannot be let in, usually because no more files may be open.
_ACCEPT_AGAIN_SECONDS: Final = 1.0


class TlsServer:
    """A listening TLS socket; each accepted client becomes a `TlsTransport` under `above()`.

    The context can be replaced while it runs (a renewed server certificate). A client that has not finished its
    handshake within `handshake_seconds` is closed by `sweep`, which the owner calls about once a second.
    `context_of_next`, if set, may give the next client another context. With `unread_seconds`, the system drops a
    client that takes nothing of what waits for it that long, where it can (Linux). A client for whom `room` has none is
    closed at once; servers of one process share a room.
    """

    def __init__(
        self,
        context: SSL.Context,
        above: Callable[[], asyncio.BaseProtocol],
        *,
        handshake_seconds: float = 20,
        unread_seconds: float | None = None,
        room: FileRoom | None = None,
    ) -> None:
        self.context = context
        self.context_of_next: Callable[[], SSL.Context | None] | None = None
        self._above = above
        self._handshake_seconds = handshake_seconds
        self._unread_seconds = unread_seconds
        self._room = room or FileRoom()
        self._handshaking: dict[TlsTransport, float] = {}
        self._listening: list[socket.socket] = []

    @property
    def ports(self) -> tuple[int, ...]:
        """The bound ports, one for each address."""
        return tuple(sock.getsockname()[1] for sock in self._listening)

    async def listen(self, addresses: Sequence[str], port: int) -> int:
        """Bind every address to one port (0 lets the system choose it) and return the port.

        Raises:
            OSError: an address cannot be bound.
        """
        loop = asyncio.get_running_loop()
        for address in addresses:
            sock = bind(address, port)
            self._hurry_readers(sock)
            port = sock.getsockname()[1]
            self._listening.append(sock)
        for sock in self._listening:
            sock.listen(BACKLOG)
            loop.add_reader(sock, self._accept_from, sock)
        return port

    def _accept_from(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                sock, peer = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                logger.warning("no connection accepted, next try in %g s: %s", _ACCEPT_AGAIN_SECONDS, error)
                loop = asyncio.get_running_loop()
                loop.remove_reader(listening)
                loop.call_later(_ACCEPT_AGAIN_SECONDS, self._accept_again, listening)
                return
            if not self._room.admits(sock.fileno()):
                sock.close()
                continue
            sock.setblocking(False)
            TcpLink(sock, self._accept(), peer).start()

    def _accept_again(self, listening: socket.socket) -> None:
        if listening in self._listening:
            asyncio.get_running_loop().add_reader(listening, self._accept_from, listening)

    def _hurry_readers(self, sock: socket.socket) -> None:
        # Accepted sockets inherit it. It ends the probing of a window that stays closed, too (tcp(7)).
        if self._unread_seconds is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._unread_seconds * 1000))

    def _accept(self) -> TlsTransport:
        other = self.context_of_next() if self.context_of_next is not None else None
        tls = SSL.Connection(other or self.context, None)
        tls.set_accept_state()
        transport = TlsTransport(tls, self._above, self._handshake_ended, server_side=True)
        self._handshaking[transport] = asyncio.get_running_loop().time() + self._handshake_seconds
        return transport

    def _handshake_ended(self, transport: TlsTransport, failure: str) -> None:
        self._handshaking.pop(transport, None)
        if failure:
            logger.info("%s: %s", transport.remote, failure)

    def sweep(self) -> None:
        """Close the clients whose handshake takes too long."""
        now = asyncio.get_running_loop().time()
        for transport in [each for each, deadline in self._handshaking.items() if deadline < now]:
            logger.info("%s: closed: no TLS handshake within %g s", transport.remote, self._handshake_seconds)
            transport.abort()

    async def close(self) -> None:
        """Stop listening and drop the handshakes under way."""
        for sock in self._listening:
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()
        self._listening.clear()
        for transport in list(self._handshaking):
            transport.abort()


def bind(address: str, port: int) -> socket.socket:
    """Make a socket that can listen.

    Its TCP_NODELAY passes to what it accepts: without it a small answer waits 40 ms for the peer's delayed ACK.

    Raises:
        OSError: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
