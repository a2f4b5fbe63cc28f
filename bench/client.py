"""One MQTT client over TLS, as the load generator needs it: packets out, packets in, nothing retried."""

import asyncio
from collections import deque

from cryptography import x509
from OpenSSL import SSL

from broker.packets import Connack, Connect, Disconnect, Packet, PacketReader, format_packet
from broker.tls import ServerTrust, TlsTransport, client_context, connect_tls
from certs.keys import PrivateKey

HOST = "localhost"
MAX_PACKET_BYTES = 128 * 1024
ANSWER_SECONDS = 60.0
# Longer than any run, so that no ping falls into a measurement.
KEEP_ALIVE_SECONDS = 1_170


class Refused(ConnectionError):
    """The server did not do what the load asked for, so there is nothing to measure."""


class Dialer:
    """What the clients of one load share: the trust in the server, and a TLS context for each issuing CA.

    `tls` is "1.2" or "1.3".
    """

    def __init__(self, anchors: tuple[x509.Certificate, ...], tls: str) -> None:
        self._trust = ServerTrust(anchors)
        self._version = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}[tls]
        self._contexts: dict[x509.Certificate, SSL.Context] = {}

    async def open(
        self, port: int, client: "Client", leaf: x509.Certificate, issuing_ca: x509.Certificate, key: PrivateKey
    ) -> TlsTransport:
        """Connect a client that shows leaf and issuing CA.

        Raises:
            OSError: no connection.
        """
        return await connect_tls(
            HOST,
            port,
            lambda: client,
            context=self._context(issuing_ca),
            trust=self._trust,
            certificate_chain=(leaf,),
            key=key,
        )

    def _context(self, issuing_ca: x509.Certificate) -> SSL.Context:
        context = self._contexts.get(issuing_ca)
        if context is None:
            context = self._contexts[issuing_ca] = client_context()
            context.set_min_proto_version(self._version)
            context.set_max_proto_version(self._version)
            context.add_extra_chain_cert(issuing_ca)
        return context


class Client(asyncio.Protocol):
    """The protocol of one connection; one coroutine at a time waits for its packets."""

    def __init__(self) -> None:
        self.transport: TlsTransport | None = None
        self.client_id = ""
        self._reader = PacketReader(MAX_PACKET_BYTES)
        self._received: deque[Packet] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, TlsTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Take packets in."""
        self._received.extend(self._reader.feed(data))
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Wake who waits."""
        self.transport = None
        if not self._lost.done():
            self._lost.set_result(None)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def send(self, packet: Packet) -> None:
        """Write a packet.

        Raises:
            Refused: the server has closed the connection.
        """
        if self.transport is None:
            raise Refused("the server closed the connection")
        self.transport.write(format_packet(packet))

    async def receive(self) -> Packet:
        """Return the next packet.

        Raises:
            Refused: the server has closed the connection.
            TimeoutError: nothing came for a minute.
        """
        async with asyncio.timeout(ANSWER_SECONDS):
            while not self._received:
                if self._lost.done():
                    raise Refused("the server closed the connection")
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
        return self._received.popleft()

    async def ask(self, packet: Packet) -> Packet:
        """Write a packet and return the next one that comes."""
        self.send(packet)
        return await self.receive()

    async def connect(self, client_id: str, user_name: str) -> None:
        """Go through CONNECT and CONNACK.

        Raises:
            Refused: CONNACK does not say 0.
        """
        self.client_id = client_id
        answer = await self.ask(
            Connect(client_id, clean_session=True, keep_alive_seconds=KEEP_ALIVE_SECONDS, user_name=user_name)
        )
        if not isinstance(answer, Connack) or answer.return_code:
            raise Refused(f"{client_id}: {answer}")

    async def leave(self) -> None:
        """Say DISCONNECT and wait until the server has closed the connection."""
        self.send(Disconnect())
        async with asyncio.timeout(ANSWER_SECONDS):
            await self._lost
