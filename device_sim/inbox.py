"""The messages of one topic prefix, to be awaited one after the other."""

import asyncio
from collections import deque

from broker.packets import Publish
from device_sim.mqtt import MqttClient
from device_sim.registration import Message

# More than this unread means that the server floods, or that nobody reads.
MAX_MESSAGES = 1000


class Inbox:
    """Keeps what arrives under a topic prefix of a client until it is taken; one taker at a time."""

    __slots__ = ("_client", "_messages", "_next", "_topic_prefix")

    def __init__(self, client: MqttClient, topic_prefix: str) -> None:
        self._client = client
        self._topic_prefix = topic_prefix
        self._messages: deque[Message] = deque()
        self._next: asyncio.Future[Message] | None = None
        client.listen(topic_prefix, self._put)

    async def get(self) -> Message:
        """Take the next message, or wait for it.

        Raises:
            ConnectionLost: the connection ended first.
            RequestTimeout: none came in the client's time.
        """
        if self._messages:
            return self._messages.popleft()
        self._next = asyncio.get_running_loop().create_future()
        return await self._client.wait(self._next, f"message on {self._topic_prefix}")

    def _put(self, packet: Publish) -> None:
        message = Message(packet.topic, packet.payload)
        if self._next is not None and not self._next.done():
            self._next.set_result(message)
        elif len(self._messages) < MAX_MESSAGES:
            self._messages.append(message)
        else:
            self._client.abort(f"{MAX_MESSAGES} messages on {self._topic_prefix} were left unread")
