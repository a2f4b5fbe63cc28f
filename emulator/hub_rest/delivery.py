"""Carries out what a request wants done to connections, and tells when it is stored."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from adr.store import StoreError
from broker.gateway import Action
from broker.mqtt import Broker


class Delivery(Protocol):
    """The way from a request to the devices and to the store."""

    def perform(self, actions: Sequence[Action]) -> None:
        """Send and close; nothing leaves before the next commit."""
        ...

    async def committed(self) -> None:
        """Wait for the next commit.

        Raises:
            StoreError: it failed: what the request wrote is undone.
        """
        ...


class BrokerDelivery:
    """Delivers through the broker, in the order and behind the commits of its outbox."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def perform(self, actions: Sequence[Action]) -> None:
        """Send and close; nothing leaves before the next commit."""
        self._broker.perform(list(actions))
        self._broker.outbox.touch()

    async def committed(self) -> None:
        """Wait for the next commit.

        Raises:
            StoreError: it failed: what the request wrote is undone.
        """
        waiter = _Waiter()
        self._broker.outbox.post(waiter, b"")
        await waiter.done


class _Waiter:
    """Stands in the outbox like a connection, to learn how the commit ended."""

    def __init__(self) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def write_now(self, data: bytes) -> None:  # noqa: ARG002 (the outbox's receiver)
        if not self.done.done():
            self.done.set_result(None)

    def drop(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_exception(StoreError(reason))
