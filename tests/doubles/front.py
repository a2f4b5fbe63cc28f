"""The front door's broker with a stub gateway behind it and clients in memory before it."""

from broker.mqtt import Broker
from broker.packets import Connack, Connect, Packet
from broker.router import Router
from certs.peer import PeerChain
from tests.doubles.gateway import HOST, NOW, StubGateway, user_name
from tests.doubles.transport import MemoryClient

# A CONNECT passes through two tasks of amqtt before its CONNACK waits for the commit.
CONNECT_TURNS = 8


class Front:
    """A broker; `commits` counts, `commit_fails` makes the next ones fail, `now` may be moved."""

    def __init__(self, *, connect_seconds: float = 60.0) -> None:
        self.gateway = StubGateway()
        self.now = NOW
        self.commits = 0
        self.commit_fails = False
        router = Router({}, {HOST: self.gateway})
        self.broker = Broker(router, self.commit, lambda: self.now, connect_seconds=connect_seconds)

    def commit(self) -> None:
        self.commits += 1
        if self.commit_fails:
            raise OSError("disk full")

    def arrive(self, peer_chain: PeerChain | None = None) -> MemoryClient:
        """A client that has sent nothing yet."""
        return MemoryClient(self.broker.connection(), peer_chain)

    async def connect(self, client_id: str, *, clean_session: bool = True, keep_alive_seconds: int = 0) -> MemoryClient:
        """A client past its CONNACK."""
        client = self.arrive()
        answer = await client.exchange(
            connect_packet(client_id, clean_session, keep_alive_seconds), turns=CONNECT_TURNS
        )
        assert answer == [Connack(session_present=False, return_code=0)], answer
        return client

    async def attempt(self, packet: Connect, peer_chain: PeerChain | None = None) -> list[Packet]:
        """What a client hears that sends a CONNECT."""
        return await self.arrive(peer_chain).exchange(packet, turns=CONNECT_TURNS)

    def silence(self, seconds: float) -> None:
        """Let every client have been silent for so long, and sweep."""
        for connection in self.broker._connections:
            connection.heard_at -= seconds
        self.broker.sweep()


def connect_packet(client_id: str, clean_session: bool = True, keep_alive_seconds: int = 0) -> Connect:
    """A CONNECT that the router finds the stub gateway for."""
    return Connect(client_id, clean_session, keep_alive_seconds, user_name(client_id))
