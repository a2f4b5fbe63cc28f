"""The client's end of a connection without a network: a transport that keeps what is written to it."""

import asyncio

from broker.connection import Connection
from broker.packets import Packet, PacketReader, format_packet
from certs.peer import PeerChain


class MemoryTransport(asyncio.Transport):
    """Keeps what is written, in pieces; closing or aborting it tells the protocol on the next turn of the loop."""

    def __init__(self, protocol: asyncio.Protocol, peer_chain: PeerChain | None = None) -> None:
        super().__init__({"peername": ("192.0.2.1", 50000), "peer_chain": peer_chain or PeerChain()})
        self._protocol = protocol
        self.written: list[bytes] = []
        self.closed = False
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if data and not self.closed:
            self.written.append(bytes(data))

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.aborted = True
        self.close()

    def is_closing(self) -> bool:
        return self.closed

    def packets(self) -> list[Packet]:
        """Take the packets written since the last call."""
        written, self.written = b"".join(self.written), []
        return list(PacketReader(1 << 20).feed(written))


class MemoryClient:
    """A client whose bytes go straight to a `Connection`."""

    def __init__(self, connection: Connection, peer_chain: PeerChain | None = None) -> None:
        self.connection = connection
        self.transport = MemoryTransport(connection, peer_chain)
        connection.connection_made(self.transport)

    def send(self, *packets: Packet) -> None:
        """Send packets in one piece."""
        self.connection.data_received(b"".join(format_packet(packet) for packet in packets))

    async def exchange(self, *packets: Packet, turns: int = 1) -> list[Packet]:
        """Send packets in one piece; what has come back some turns of the loop later."""
        self.send(*packets)
        await self.settle(turns)
        return self.transport.packets()

    async def settle(self, turns: int = 4) -> None:
        """Let the loop turn."""
        for _ in range(turns):
            await asyncio.sleep(0)
