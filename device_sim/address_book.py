"""Where hosts answered: a fleet asks the resolver once, not for every device."""

import asyncio
import socket

from device_sim.tcp_socket import begin_connecting, connect
from device_sim.timer_wheel import TimerWheel


class AddressBook:
    """The address at which each host answered last.

    Asking the resolver costs more than the rest of a connection's TCP part, and a fleet that sets out at once would
    ask for every device: one of them looks, the others wait for what it finds.
    """

    def __init__(self, timers: TimerWheel) -> None:
        self._timers = timers
        self._known: dict[str, str] = {}
        self._sought: dict[str, asyncio.Event] = {}

    async def connect(self, host: str, port: int, seconds: float) -> socket.socket:
        """Begin a connection to a known address, or connect to the first one that answers within so many seconds.

        Raises:
            OSError: the name cannot be resolved, or no address answers.
            TimeoutError: it took too long.
        """
        address = self._known.get(host)
        if address is not None:
            return begin_connecting(address, port)
        with self._timers.limit(seconds):
            return await self._find(host, port)

    def forget(self, host: str) -> None:
        """Ask the resolver again next time: the connection failed."""
        self._known.pop(host, None)

    async def _find(self, host: str, port: int) -> socket.socket:
        sought = self._sought.get(host)
        if sought is None:
            return await self._look(host, port)
        await sought.wait()
        address = self._known.get(host)
        if address is not None:
            return begin_connecting(address, port)
        # Whoever looked found nothing, or gave up: each for itself.
        return await self._ask(host, port)

    async def _look(self, host: str, port: int) -> socket.socket:
        sought = self._sought[host] = asyncio.Event()
        try:
            return await self._ask(host, port)
        finally:
            del self._sought[host]
            sought.set()

    async def _ask(self, host: str, port: int) -> socket.socket:
        sock = await connect(name_to_look_up(host), port)
        self._known[host] = sock.getpeername()[0]
        return sock


def name_to_look_up(host: str) -> str:
    """Give the name to ask the resolver for: what is under `.localhost` is this machine, which few resolvers know.

    Source: RFC 6761 section 6.3 (documented).
    """
    return "localhost" if host.lower().endswith(".localhost") else host
