"""One MQTT 3.1.1 client connection: small, without tasks of its own, ten thousand of them to a process."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from broker.packets import (
    Connack,
    Connect,
    Disconnect,
    MalformedPacket,
    Packet,
    PacketReader,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
    format_packet,
)
from device_sim.errors import (
    ConnectionLost,
    ConnectionRefused,
    DeviceError,
    RequestTimeout,
    SubscriptionRefused,
    UnexpectedResponse,
)
from device_sim.timer_wheel import Timer, TimerWheel

logger = logging.getLogger("device_sim")

MAX_PACKET_BYTES = 384 * 1024
MAX_PACKET_ID = 65_535
FIRST_REFUSED_CODE = 0x80
CLOSE_SECONDS = 5
LAST_WORDS = format_packet(Disconnect())

Answer = TypeVar("Answer")


def ignore(_acknowledged: bool) -> None:  # noqa: FBT001 - what `post` calls with
    """Do without knowing whether a message was acknowledged: its answer is what counts."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A posted message that waits for its PUBACK."""

    posted_at: float
    on_answer: Callable[[bool], None]


class MqttClient(asyncio.Protocol):
    """The client's end of one connection; the protocol above a `TlsTransport`.

    Messages go to the callback whose topic prefix they start with (`listen`), before they are acknowledged.
    Every wait is bounded by `timeout_seconds`; `timers` are those of the fleet. Used once: a lost connection needs a
    new client. `on_lost` is called when the connection has ended, whoever ended it.
    """

    __slots__ = (
        "_answers",
        "_beat_timer",
        "_closed",
        "_connack",
        "_heard",
        "_last_packet_id",
        "_listeners",
        "_paused",
        "_pinged",
        "_reader",
        "_said",
        "_timeout_seconds",
        "_timers",
        "_transport",
        "_waits",
        "_watch_timer",
        "failure",
        "on_lost",
        "peer",
    )

    def __init__(self, peer: str, timeout_seconds: float, timers: TimerWheel | None = None) -> None:
        self.peer = peer
        self.failure = ""
        self.on_lost: Callable[[], None] | None = None
        self._timeout_seconds = timeout_seconds
        self._timers = timers or TimerWheel()
        self._reader = PacketReader(MAX_PACKET_BYTES)
        self._transport: asyncio.Transport | None = None
        self._connack: asyncio.Future[Connack] | None = None
        # What waits for the answer to a packet, the oldest first.
        self._answers: dict[int, asyncio.Future[Packet] | Delivery] = {}
        # Until when each wait lasts, and for what; the oldest first, and so the one that ends first.
        self._waits: dict[asyncio.Future[Any], tuple[float, str]] | None = None
        self._listeners: tuple[tuple[str, Callable[[Publish], None]], ...] = ()
        self._last_packet_id = 0
        self._beat_timer: Timer | None = None
        self._watch_timer: Timer | None = None
        self._said = self._heard = self._pinged = False
        self._paused: list[asyncio.Future[None]] | None = None
        self._closed: asyncio.Future[None] | None = None

    # --- what a device does ---

    async def connect(self, packet: Connect) -> Connack:
        """Send CONNECT, wait for CONNACK and start to keep the connection alive.

        Raises:
            ConnectionRefused: the return code is not 0.
            ConnectionLost, RequestTimeout: there was no CONNACK.
        """
        self._connack = asyncio.get_running_loop().create_future()
        self._send(packet)
        connack = await self.wait(self._connack, "CONNACK")
        self._connack = None
        if connack.return_code:
            self.abort("refused")
            raise ConnectionRefused(self.peer, packet.user_name or packet.client_id, connack.return_code)
        if packet.keep_alive_seconds:
            self._said = True
            self._beat(packet.keep_alive_seconds / 2)
        return connack

    async def connect_or_abort(self, packet: Connect) -> Connack:
        """Connect as `connect` does, and leave no connection behind when that fails or is cancelled."""
        try:
            return await self.connect(packet)
        except BaseException:
            self.abort("given up")
            raise

    async def subscribe(self, topic_filters: Sequence[str], qos: int = 1) -> None:
        """Subscribe to every filter with one SUBSCRIBE.

        Raises:
            SubscriptionRefused: SUBACK refused one.
            ConnectionLost, RequestTimeout: there was no SUBACK.
            ValueError: a filter does not fit into an MQTT packet.
        """
        wanted = tuple((topic_filter, qos) for topic_filter in topic_filters)
        suback = await self._request(lambda packet_id: Subscribe(packet_id, wanted), "SUBACK")
        codes = suback.return_codes if isinstance(suback, Suback) else ()
        if len(codes) != len(wanted) or max(codes) >= FIRST_REFUSED_CODE:
            raise SubscriptionRefused(f"{self.peer} answered a subscription to {list(topic_filters)} with {codes}")

    async def publish(self, topic: str, payload: bytes, qos: int = 1) -> None:
        """Send a message; with QoS 1 wait for its PUBACK, with QoS 0 until the transport can take more.

        Raises:
            ConnectionLost, RequestTimeout: it is not known whether the server has the message.
            ValueError: the topic or the payload does not fit into an MQTT packet.
        """
        if qos:
            await self._request(lambda packet_id: Publish(topic, payload, 1, packet_id=packet_id), "PUBACK")
            return
        self._send(Publish(topic, payload))
        if self._paused is not None:
            room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._paused.append(room)
            await self.wait(room, "room to write")

    def post(self, topic: str, payload: bytes, on_answer: Callable[[bool], None] = ignore, qos: int = 1) -> None:
        """Send a message without waiting: `on_answer` is called with True at its PUBACK, False if there is none.

        With QoS 0 it is called at once. A PUBACK that does not come in time ends the connection, as it does in the
        SDKs.

        Raises:
            ConnectionLost: there is no connection.
            ValueError: the topic or the payload does not fit into an MQTT packet.
        """
        if not qos:
            self._send(Publish(topic, payload))
            on_answer(True)
            return
        packet_id = self._next_packet_id()
        self._send(Publish(topic, payload, 1, packet_id=packet_id))
        self._answers[packet_id] = Delivery(self._timers.now(), on_answer)
        self._watch_from_now()

    @property
    def in_flight(self) -> int:
        """How many packets wait for their answer."""
        return len(self._answers)

    def listen(self, topic_prefix: str, callback: Callable[[Publish], None]) -> None:
        """Give the messages whose topic starts with the prefix to a callback, from now on."""
        self._listeners = (*(each for each in self._listeners if each[0] != topic_prefix), (topic_prefix, callback))

    async def wait(self, future: "asyncio.Future[Answer]", what: str) -> Answer:
        """Await something that a packet of the server brings.

        Raises:
            ConnectionLost: the connection ended first.
            RequestTimeout: it took longer than `timeout_seconds`.
        """
        if self._transport is None and not future.done():
            raise self._lost()
        waits = self._waits
        if waits is None:
            waits = self._waits = {}
        waits[future] = (self._timers.now() + self._timeout_seconds, what)
        self._watch_from_now()
        try:
            return await future
        finally:
            waits.pop(future, None)
            if not waits:
                # An idle connection keeps nothing for waits.
                self._waits = None

    async def disconnect(self) -> None:
        """Say DISCONNECT and wait until the connection is closed, for at most 5 s."""
        self.leave()
        await self.wait_closed()

    def leave(self) -> None:
        """Say DISCONNECT and begin to close the connection, which ends by itself or is ended after 5 s."""
        if self._transport is None:
            return
        self.failure = self.failure or "disconnected"
        self._transport.write(LAST_WORDS)
        self._transport.close()
        if self._beat_timer is not None:
            self._beat_timer.cancel()
        self._beat_timer = self._timers.schedule(CLOSE_SECONDS, self.abort)

    async def wait_closed(self) -> None:
        """Return when the connection has ended; `failure` says why."""
        if self._transport is None:
            return
        if self._closed is None:
            self._closed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._closed)

    @property
    def is_connected(self) -> bool:
        """Tell whether packets can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def abort(self, failure: str = "") -> None:
        """End the connection at once."""
        self.failure = self.failure or failure
        if self._transport is not None:
            self._transport.abort()

    # --- what the transport calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; its server is trusted by now."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take bytes: each packet is dealt with in order."""
        self._heard = True
        try:
            for packet in self._reader.feed(data):
                self._take(packet)
        except MalformedPacket as error:
            logger.warning("%s: sent a malformed packet: %s", self.peer, error)
            self.abort(f"malformed packet: {error}")
        except UnexpectedResponse as error:
            logger.warning("%s: sent something unexpected: %s", self.peer, error)
            self.abort(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail whatever is waited for."""
        self._transport = None
        # Whoever listens holds on to this client.
        self._listeners = ()
        for timer in (self._beat_timer, self._watch_timer):
            if timer is not None:
                timer.cancel()
        self.failure = self.failure or (str(exc) if exc is not None else "closed by the server")
        for future in self._waits or ():
            if not future.done():
                future.set_exception(self._lost())
        self._fail_deliveries()
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)
        if self.on_lost is not None:
            self.on_lost()

    def pause_writing(self) -> None:
        """Let QoS 0 publishing wait."""
        self._paused = self._paused or []

    def resume_writing(self) -> None:
        """Let QoS 0 publishing go on."""
        paused, self._paused = self._paused, None
        for future in paused or ():
            if not future.done():
                future.set_result(None)

    # --- packets ---

    def _take(self, packet: Packet) -> None:
        match packet:
            case Puback() | Suback():
                self._answer(packet)
            case Publish():
                self._deliver(packet)
            case Pingresp():
                pass
            case Connack() if self._connack is not None and not self._connack.done():
                self._connack.set_result(packet)
            case _:
                self.abort(f"unexpected {type(packet).__name__.upper()}")

    def _answer(self, packet: Puback | Suback) -> None:
        waiting = self._answers.pop(packet.packet_id, None)
        if isinstance(waiting, Delivery):
            waiting.on_answer(True)
        elif waiting is not None and not waiting.done():
            waiting.set_result(packet)

    def _deliver(self, packet: Publish) -> None:
        callback = next((each for prefix, each in self._listeners if packet.topic.startswith(prefix)), None)
        if callback is None:
            logger.debug("%s: nobody listens to %s", self.peer, packet.topic)
        else:
            callback(packet)
        if packet.packet_id is not None and self.is_connected:
            self._send(Puback(packet.packet_id))

    async def _request(self, packet_of: Callable[[int], Packet], what: str) -> Packet:
        packet_id = self._next_packet_id()
        future = self._answers[packet_id] = asyncio.get_running_loop().create_future()
        try:
            self._send(packet_of(packet_id))
            return await self.wait(future, what)
        finally:
            self._answers.pop(packet_id, None)

    def _next_packet_id(self) -> int:
        if len(self._answers) >= MAX_PACKET_ID:
            raise DeviceError(f"{MAX_PACKET_ID} packets wait for an answer of {self.peer}")
        packet_id = self._last_packet_id % MAX_PACKET_ID + 1
        while packet_id in self._answers:
            packet_id = packet_id % MAX_PACKET_ID + 1
        self._last_packet_id = packet_id
        return packet_id

    def _send(self, packet: Packet) -> None:
        data = format_packet(packet)
        if self._transport is None:
            raise self._lost()
        self._said = True
        self._transport.write(data)

    def _beat(self, interval: float) -> None:
        """Ping when nothing was sent for an interval; give up when a ping brought nothing for another one."""
        if self._pinged and not self._heard:
            self.abort(f"no PINGRESP within {interval:g} s")
            return
        self._pinged = not self._said
        self._heard = False
        if self._pinged:
            self._send(Pingreq())
        self._said = False
        self._beat_timer = self._timers.schedule(interval, self._beat, interval)

    def _watch_from_now(self) -> None:
        """Have one timer for all that is waited for: nearly all of it comes before the timer is due."""
        if self._watch_timer is None:
            self._watch_timer = self._timers.schedule(self._timeout_seconds, self._watch)

    def _watch(self) -> None:
        """Fail the waits whose time is over, and look again when the next one's is."""
        self._watch_timer = None
        now = self._timers.now()
        self._fail_waits(now)
        deadlines = [deadline for deadline, _ in (self._waits or {}).values() if deadline > now]
        oldest = next((each for each in self._answers.values() if isinstance(each, Delivery)), None)
        if oldest is not None:
            deadlines.append(oldest.posted_at + self._timeout_seconds)
        if not deadlines:
            return
        if min(deadlines) <= now:
            self.abort(f"no PUBACK within {self._timeout_seconds:g} s")
        else:
            self._watch_timer = self._timers.schedule_at(min(deadlines), self._watch)

    def _fail_waits(self, now: float) -> None:
        for future, (deadline, what) in (self._waits or {}).items():
            if deadline <= now and not future.done():
                future.set_exception(RequestTimeout(f"{self.peer}: no {what} within {self._timeout_seconds:g} s"))

    def _fail_deliveries(self) -> None:
        deliveries = [each for each in self._answers.values() if isinstance(each, Delivery)]
        if deliveries:
            self._answers = {}
        for delivery in deliveries:
            delivery.on_answer(False)

    def _lost(self) -> ConnectionLost:
        return ConnectionLost(f"connection to {self.peer} lost: {self.failure or 'not connected'}")
