"""MQTT over WebSocket: a connection's transport that speaks frames instead of a TCP stream.

One MQTT packet may span frames and several may share one (MQTT 3.1.1 §6), so a frame's bytes go to the connection as
they come.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from aiohttp import WSMsgType, web

from broker.connection import MAX_PACKET_BYTES, Connection
from broker.tls import MAX_UNSENT_BYTES, TlsTransport
from certs.peer import PeerChain

logger = logging.getLogger("broker")

SUBPROTOCOL: Final = "mqtt"
# How long the closing handshake of a WebSocket may take (assumed).
CLOSE_SECONDS: Final = 5.0
# Python, Node and C ask for the first path, C#, Java and .NET for the second (their sources: sdk).
PATHS: Final = ("/$iothub/websocket", "/")


def offered_subprotocol(request: web.BaseRequest) -> str | None:
    """Find `mqtt` among the subprotocols a client offers, in the letter case it used.

    The C SDK offers `MQTT` and compares the answer with that.

    Source: azure-c-shared-utility uws_client.c (sdk).
    """
    for header in request.headers.getall("Sec-WebSocket-Protocol", []):
        for offered in header.split(","):
            if offered.strip().lower() == SUBPROTOCOL:
                return offered.strip()
    return None


def is_upgrade(request: web.BaseRequest) -> bool:
    """Whether the request wants a WebSocket."""
    return request.headers.get("Upgrade", "").lower() == "websocket"


class _WebSocketTransport(asyncio.Transport):
    """Collects what the connection writes; `run` sends it as binary frames."""

    def __init__(self, request: web.BaseRequest) -> None:
        below = request.transport
        self._below = below
        self._facts = {
            "peername": below.get_extra_info("peername") if below else None,
            "peer_chain": below.get_extra_info("peer_chain", PeerChain()) if below else PeerChain(),
        }
        super().__init__(self._facts)
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._wake = asyncio.Event()
        self._closing = False
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or not data:
            return
        self._unsent.append(bytes(data))
        self._unsent_bytes += len(data)
        self._wake.set()
        if self._unsent_bytes > MAX_UNSENT_BYTES:
            logger.warning("WebSocket client closed: it leaves over %d bytes unread", MAX_UNSENT_BYTES)
            self.abort()

    def close(self) -> None:
        self._closing = True
        self._wake.set()

    def abort(self) -> None:
        self.aborted = True
        self.close()
        if self._below is not None:
            self._below.abort()  # a frame on its way to a client that does not read would wait for ever

    def is_closing(self) -> bool:
        return self._closing

    def forget_peer_chain(self) -> None:
        """Let go of the peer's certificates, here and below, once they have been judged."""
        self._facts["peer_chain"] = PeerChain()
        if isinstance(self._below, TlsTransport):
            self._below.forget_peer_chain()

    async def run(self, socket: web.WebSocketResponse) -> None:
        """Send what is written until the connection closes, then close the socket."""
        while not self.aborted:
            await self._wake.wait()
            self._wake.clear()
            unsent, self._unsent, self._unsent_bytes = self._unsent, [], 0
            if unsent:
                await socket.send_bytes(b"".join(unsent))
            if self._closing and not self._unsent:
                break
        await socket.close()


async def serve_websocket(request: web.BaseRequest, connection: Callable[[], Connection]) -> web.StreamResponse:
    """Carry one MQTT connection over a WebSocket until either side ends it."""
    subprotocol = offered_subprotocol(request)
    if subprotocol is None:
        return web.Response(status=400, text="the WebSocket must offer the subprotocol mqtt\n")
    socket = web.WebSocketResponse(
        protocols=(subprotocol,), max_msg_size=MAX_PACKET_BYTES, compress=False, autoclose=True
    )
    await socket.prepare(request)
    transport = _WebSocketTransport(request)
    protocol = connection()
    protocol.connection_made(transport)
    sender = asyncio.create_task(transport.run(socket))
    try:
        await _read(socket, protocol)
    except ConnectionError:
        logger.info("%s: connection lost while a WebSocket control frame was answered", protocol.remote)
    finally:
        protocol.connection_lost(None)
        transport.close()
        await _finish(sender, transport)
    return socket


async def _read(socket: web.WebSocketResponse, protocol: Connection) -> None:
    async for message in socket:
        if message.type is not WSMsgType.BINARY:
            protocol.close("WebSocket frame that is not binary (MQTT 3.1.1 §6.0.0-1)")
            break
        protocol.data_received(message.data)


async def _finish(sender: "asyncio.Task[None]", transport: _WebSocketTransport) -> None:
    try:
        await asyncio.wait_for(sender, timeout=CLOSE_SECONDS)
    except (TimeoutError, ConnectionError, RuntimeError):
        transport.abort()
