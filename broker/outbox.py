"""Holds what goes out to clients until the store has committed what it rests on.

Everything that one turn of the event loop produced shares one commit, so its cost is shared too.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

logger = logging.getLogger("broker")


class Receiver(Protocol):
    """A connection, as the outbox sees it."""

    def write_now(self, data: bytes) -> None:
        """Write bytes, and whatever close was asked for behind them."""
        ...

    def drop(self, reason: str) -> None:
        """End the connection without another byte."""
        ...


class Outbox:
    """Bytes on their way to clients, in order for each client, behind the next commit.

    A commit that fails drops the connections that wait for it: their clients have no answer, so they will ask
    again, and what they were never told is not in the store either.
    """

    def __init__(self, commit: Callable[[], None]) -> None:
        self._commit = commit
        self._waiting: dict[Receiver, list[bytes]] = {}
        self._scheduled = False

    def post(self, receiver: Receiver, data: bytes) -> None:
        """Send bytes after the next commit; an empty text only makes the receiver share the commit's fate."""
        waiting = self._waiting.get(receiver)
        if waiting is None:
            self._waiting[receiver] = [data]
        else:
            waiting.append(data)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self.flush)

    def touch(self) -> None:
        """Ask for a commit though nobody waits for it (a QoS 0 message was stored)."""
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Commit, then send what waited."""
        self._scheduled = False
        waiting, self._waiting = self._waiting, {}
        try:
            self._commit()
        except Exception as error:  # whatever the store's trouble is, nobody may be told of success
            logger.exception("could not store; %d connections dropped unanswered", len(waiting))
            for receiver in waiting:
                receiver.drop(f"could not store: {error}")
            return
        for receiver, data in waiting.items():
            try:
                receiver.write_now(data[0] if len(data) == 1 else b"".join(data))
            except Exception:  # one connection's trouble must not silence those behind it
                logger.exception("could not write to a connection")
                receiver.drop("could not write")
