"""A transport without a network: what is written to it is kept."""

import asyncio

from broker.packets import Packet, PacketReader
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
