"""One client's MQTT connection: packets in, packets out, over any transport.

CONNECT goes to amqtt (`mqtt.py`), which authenticates and takes over; every packet after it is handled here,
synchronously, without a task.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from enum import Enum, auto
from typing import Final, Protocol, TypeVar

from broker.gateway import (
    Action,
    AnyGateway,
    ConnectRequest,
    ConnectReturnCode,
    Publish,
    Refusal,
    Session,
    Unanswered,
    Will,
    Withhold,
)
from broker.outbox import Outbox
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
    Suback,
    Subscribe,
    UnacceptableProtocolVersion,
    Unsuback,
    Unsubscribe,
    format_packet,
)
from broker.packets import Publish as PublishPacket
from certs.peer import PeerChain

logger = logging.getLogger("broker")

_Answer = TypeVar("_Answer")

# What a client nobody knows yet may make us keep: a CONNECT with a long token, or the packets it sends on its heels.
MAX_BYTES_BEFORE_CONNACK: Final = 64 * 1024
# IoT Hub takes messages of 256 KiB, and a topic may have 64 KiB (iot-hub quotas, MQTT 3.1.1 §4.7.3).
MAX_PACKET_BYTES: Final = 384 * 1024
MAX_UNACKNOWLEDGED: Final = 1000
MAX_GRANTED_QOS: Final = 1


class ConnectionState(Enum):
    """Where a connection is in its life."""

    AWAITING_CONNECT = auto()
    CONNECTING = auto()
    OPEN = auto()
    SILENT = auto()
    CLOSED = auto()


class Door(Protocol):
    """What a connection needs of the broker that owns it."""

    outbox: Outbox

    def now(self) -> datetime:
        """Tell the emulator's time."""
        ...

    def adopt(self, connection: "Connection") -> None:
        """Take a connection that sent its CONNECT."""
        ...

    def authenticate(self, connection: "Connection") -> tuple[Session, AnyGateway] | Refusal:
        """Let the gateway behind the user name decide."""
        ...

    def perform(self, actions: list[Action]) -> None:
        """Carry out what a gateway wants."""
        ...

    def arrived(self, connection: "Connection") -> None:
        """Count a connection in."""
        ...

    def left(self, connection: "Connection") -> None:
        """Count a connection out."""
        ...


class Connection(asyncio.Protocol):
    """The server's end of one MQTT connection.

    Its life is a table of states: AWAITING_CONNECT, CONNECTING (amqtt has the CONNECT), OPEN, CLOSED; a connection
    made SILENT looks open to its client for ever. Answers go through the outbox, so that none leaves before what it
    acknowledges is stored.
    """

    __slots__ = (
        "_acknowledge",
        "_bytes_before_connack",
        "_door",
        "_early",
        "_last_packet_id",
        "_reader",
        "_testament",
        "_transport",
        "_unacknowledged",
        "connect",
        "gateway",
        "graceful",
        "heard_at",
        "idle_limit",
        "remote",
        "session",
        "state",
    )

    def __init__(self, door: Door) -> None:
        self._door = door
        self._reader: PacketReader = PacketReader(MAX_BYTES_BEFORE_CONNACK)
        self._transport: asyncio.Transport | None = None
        self._early: list[Packet] = []
        self._unacknowledged: dict[int, str] = {}
        self._acknowledge: list[str] = []
        self._last_packet_id = 0
        self._bytes_before_connack = 0
        self.state = ConnectionState.AWAITING_CONNECT
        self.connect: Connect | None = None
        self._testament: Will | None = None
        self.session: Session | None = None
        self.gateway: AnyGateway | None = None
        self.graceful = False
        self.heard_at = 0.0
        self.idle_limit: float | None = None
        self.remote = "unknown"

    # --- the transport's calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for a CONNECT."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self.remote = f"{peer[0]}:{peer[1]}" if peer else "unknown"
        self._door.arrived(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes: packets are handled in order until one closes the connection."""
        if self.state is ConnectionState.OPEN:
            self.heard_at = asyncio.get_running_loop().time()
        elif self._is_done() or not self._may_hold(len(data)):
            return
        try:
            for packet in self._reader.feed(data):
                self._take(packet)
                if self._is_done():
                    return
        except MalformedPacket as error:
            self._violated(error)

    def _may_hold(self, size: int) -> bool:
        # Before CONNACK bytes do not count as a sign of life: a client that drips its CONNECT is not alive.
        self._bytes_before_connack += size
        if self._bytes_before_connack > MAX_BYTES_BEFORE_CONNACK:
            self.close(f"sends over {MAX_BYTES_BEFORE_CONNACK} bytes before its CONNACK")
            return False
        return True

    def _violated(self, error: MalformedPacket) -> None:
        if isinstance(error, UnacceptableProtocolVersion) and self.state is ConnectionState.AWAITING_CONNECT:
            self.refuse(Refusal(ConnectReturnCode.UNACCEPTABLE_PROTOCOL_VERSION, str(error)))
        else:
            self.close(f"malformed packet: {error}")

    def _is_done(self) -> bool:
        # A method, because a type checker would take an attribute's value for settled.
        return self.is_closed or self.state is ConnectionState.SILENT

    @property
    def is_closed(self) -> bool:
        """Whether this end has said its last."""
        return self.state is ConnectionState.CLOSED

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Tell the gateway, once, and forget the session."""
        self._transport = None
        self._end()
        self._door.left(self)

    # --- CONNECT ---

    def _take(self, packet: Packet) -> None:
        if self.state is ConnectionState.OPEN:
            self._dispatch(packet)
        elif self.state is ConnectionState.CONNECTING:
            self._early.append(packet)
        elif isinstance(packet, Connect):
            self.state = ConnectionState.CONNECTING
            self.connect = packet
            self._door.adopt(self)
        else:
            # MQTT 3.1.1 §3.1.0-1: the first packet is a CONNECT.
            self.close(f"first packet is {type(packet).__name__.upper()}, not CONNECT")

    def request(self) -> ConnectRequest:
        """The CONNECT and the certificate of this very connection."""
        connect = self.connect
        assert connect is not None
        return ConnectRequest(
            client_id=connect.client_id,
            user_name=connect.user_name or "",
            password=connect.password,
            clean_session=connect.clean_session,
            keep_alive_seconds=connect.keep_alive_seconds,
            will=connect.will,
            peer_chain=self._peer_chain(),
            remote=self.remote,
        )

    def authenticate(self) -> tuple[Session, AnyGateway] | Refusal:
        """Let the gateway behind the user name decide whether this client is whom it says."""
        return self._door.authenticate(self)

    def _peer_chain(self) -> PeerChain:
        transport = self._transport
        return PeerChain() if transport is None else transport.get_extra_info("peer_chain", PeerChain())

    def accept(self, session: Session, gateway: AnyGateway, idle_limit: float | None) -> None:
        """Send CONNACK 0 and start to handle packets, those that came early first."""
        if self.state is not ConnectionState.CONNECTING:
            return
        self.session = session
        self.gateway = gateway
        self.idle_limit = idle_limit
        self.heard_at = asyncio.get_running_loop().time()
        self.state = ConnectionState.OPEN
        self._forget_credentials()
        self._reader.max_packet_bytes = MAX_PACKET_BYTES
        actions = self._guarded_call(lambda: gateway.opened(session, self._door.now()))
        connack = Connack(session.session_present, ConnectReturnCode.ACCEPTED)
        if not actions or not self._keeps_back(actions, connack):
            self._post(connack)
        self._perform(actions)
        early, self._early = self._early, []
        for packet in early:
            if self.state is ConnectionState.OPEN:
                self._dispatch(packet)

    def _forget_credentials(self) -> None:
        """Keep of the CONNECT what the connection's end needs: it lives long, and there are many."""
        if self.connect is not None:
            self._testament, self.connect = self.connect.will, None
        forget = getattr(self._transport, "forget_peer_chain", None)
        if forget is not None:
            forget()

    def refuse(self, refusal: Refusal) -> None:
        """Send a CONNACK that says no, and close."""
        if self.is_closed:
            return
        if isinstance(refusal, Unanswered):
            self.drop(refusal.reason)
            return
        logger.warning("%s: connection refused (CONNACK %d): %s", self._who(), refusal.return_code, refusal.reason)
        self._post(Connack(session_present=False, return_code=refusal.return_code))
        self.close("")

    # --- packets of an open connection ---

    def _dispatch(self, packet: Packet) -> None:
        match packet:
            case PublishPacket():
                self._receive(packet)
            case Puback():
                self._acknowledged(packet.packet_id)
            case Pingreq():
                self._post(Pingresp())
            case Subscribe():
                self._subscribe(packet)
            case Unsubscribe():
                self._unsubscribe(packet)
            case Disconnect():
                self.graceful = True
                self.close("")
            case _:
                self.close(f"unexpected {type(packet).__name__.upper()}")

    def _receive(self, packet: PublishPacket) -> None:
        session, gateway = self.session, self.gateway
        assert session is not None
        assert gateway is not None
        if packet.qos > MAX_GRANTED_QOS:
            # IoT Hub and DPS close on QoS 2 (iot-mqtt-connect-to-iot-hub, iot-mqtt-connect-to-iot-dps: documented).
            self.close(f"PUBLISH with QoS {packet.qos}: at most QoS {MAX_GRANTED_QOS} is allowed")
            return
        actions = self._guarded_call(
            lambda: gateway.receive(
                session,
                packet.topic,
                packet.payload,
                packet.qos,
                retain=packet.retain,
                dup=packet.dup,
                now=self._door.now(),
            )
        )
        if actions is None:
            return
        packet_id = packet.packet_id
        if actions and self._keeps_back(actions, None if packet_id is None else Puback(packet_id)):
            self._door.outbox.touch()
        elif packet_id is not None:
            self._post(Puback(packet_id))
        else:
            self._door.outbox.touch()
        self._perform(actions)

    def _keeps_back(self, actions: list[Action], acknowledgement: Packet | None) -> bool:
        """Tell whether a packet's own actions forbid that it is acknowledged now; a late one is seen to."""
        key = self.session.key if self.session is not None else ""
        for action in actions:
            if action.session_key != key or isinstance(action, Publish):
                continue
            if isinstance(action, Withhold) and action.seconds is not None and acknowledgement is not None:
                asyncio.get_running_loop().call_later(action.seconds, self._acknowledge_late, acknowledgement)
            return True
        return False

    def _acknowledge_late(self, acknowledgement: Packet) -> None:
        if self.state is ConnectionState.OPEN:
            self._post(acknowledgement)

    def _acknowledged(self, packet_id: int) -> None:
        token = self._unacknowledged.pop(packet_id, "")
        if token:
            self._tell_acknowledged(token)

    def _tell_acknowledged(self, token: str) -> None:
        session, gateway = self.session, self.gateway
        assert session is not None
        assert gateway is not None
        self._guarded(lambda: gateway.acknowledged(session, token, self._door.now()))
        self._door.outbox.touch()

    def _subscribe(self, packet: Subscribe) -> None:
        session, gateway = self.session, self.gateway
        assert session is not None
        assert gateway is not None
        for topic_filter, _ in packet.topic_filters:
            if not self._may_subscribe(session, gateway, topic_filter):
                # SDKs do not read a SUBACK's codes and would wait for ever; the service closes (assumed).
                self.close(f"may not subscribe to {topic_filter!r}")
                return
        granted = [(topic_filter, min(qos, MAX_GRANTED_QOS)) for topic_filter, qos in packet.topic_filters]
        actions = self._guarded_call(lambda: gateway.subscribed(session, granted, self._door.now()))
        if actions is None:
            return
        suback = Suback(packet.packet_id, tuple(qos for _, qos in granted))
        if not actions or not self._keeps_back(actions, suback):
            self._post(suback)
        self._perform(actions)

    def _may_subscribe(self, session: Session, gateway: AnyGateway, topic_filter: str) -> bool:
        return bool(self._guarded_call(lambda: gateway.may_subscribe(session, topic_filter)))

    def _unsubscribe(self, packet: Unsubscribe) -> None:
        session, gateway = self.session, self.gateway
        assert session is not None
        assert gateway is not None
        actions = self._guarded_call(lambda: gateway.unsubscribed(session, packet.topic_filters, self._door.now()))
        if actions is None:
            return
        self._post(Unsuback(packet.packet_id))
        self._perform(actions)

    # --- what goes out ---

    def publish(self, action: Publish) -> None:
        """Send one message; QoS 1 is remembered until its PUBACK."""
        if self.state is not ConnectionState.OPEN:
            return
        if action.qos and len(self._unacknowledged) >= MAX_UNACKNOWLEDGED:
            self.close(f"leaves {MAX_UNACKNOWLEDGED} messages unacknowledged")
            return
        packet_id = self._next_packet_id() if action.qos else None
        packet = PublishPacket(action.topic, action.payload, action.qos, packet_id=packet_id)
        try:
            data = format_packet(packet)
        except ValueError as error:
            self.close(f"a message to it does not fit MQTT: {error}")
            return
        if packet_id is not None:
            self._unacknowledged[packet_id] = action.token
        elif action.token:
            self._acknowledge.append(action.token)
        self._door.outbox.post(self, data)

    def _next_packet_id(self) -> int:
        packet_id = self._last_packet_id % 65535 + 1
        while packet_id in self._unacknowledged:
            packet_id = packet_id % 65535 + 1
        self._last_packet_id = packet_id
        return packet_id

    def _post(self, packet: Packet) -> None:
        self._door.outbox.post(self, format_packet(packet))

    def write_now(self, data: bytes) -> None:
        """Write what the outbox held, then close if that was asked for."""
        if self._transport is None:
            return
        self._transport.write(data)
        if self._acknowledge and not self._transport.is_closing():
            tokens, self._acknowledge = self._acknowledge, []
            for token in tokens:
                self._tell_acknowledged(token)
        if self.is_closed:
            self._transport.close()

    def close(self, reason: str) -> None:
        """End the connection after what it was already promised; an empty reason is an orderly end."""
        if self.is_closed:
            return
        if reason:
            logger.warning("%s: closed: %s", self._who(), reason)
        self._end()
        self._door.outbox.post(self, b"")

    def drop(self, reason: str) -> None:
        """End the connection without another byte."""
        if self._transport is None:
            return
        logger.warning("%s: dropped: %s", self._who(), reason)
        self._end()
        self._transport.abort()

    def silence(self, reason: str) -> None:
        """Leave the connection open, and neither hear nor say anything more on it."""
        if self.state is not ConnectionState.OPEN:
            return
        logger.warning("%s: silenced: %s", self._who(), reason)
        self.state = ConnectionState.SILENT
        self.idle_limit = None

    def _end(self) -> None:
        """Leave the state OPEN once, whatever the cause, and let the gateway know."""
        was_open = self.state in {ConnectionState.OPEN, ConnectionState.SILENT}
        if not self.is_closed:
            self.heard_at = asyncio.get_running_loop().time()  # from here on it may take its last bytes
        self.state = ConnectionState.CLOSED
        self._early.clear()
        session, gateway = self.session, self.gateway
        if not was_open or session is None or gateway is None:
            return
        self._guarded(lambda: gateway.disconnected(session, self._door.now(), will=self._will()))
        self._door.outbox.touch()

    def _will(self) -> Will | None:
        return None if self.graceful else self._testament

    # --- the one place where an error of a core becomes a closed connection ---

    def _guarded(self, call: Callable[[], list[Action]]) -> None:
        self._perform(self._guarded_call(call))

    def _guarded_call(self, call: Callable[[], _Answer]) -> _Answer | None:
        try:
            return call()
        except Exception:
            logger.exception("%s: closed: internal error", self._who())
            self.close("internal error")
            return None

    def _perform(self, actions: list[Action] | None) -> None:
        if actions:
            self._door.perform(actions)

    def _who(self) -> str:
        if self.session is not None:
            return f"{self.remote} {self.session.key}"
        if self.connect is not None:
            return f"{self.remote} {self.connect.client_id!r}"
        return self.remote
