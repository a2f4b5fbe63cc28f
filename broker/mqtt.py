"""The amqtt seam: amqtt's broker with our connections in the place of its streams.

amqtt keeps what it is good at: the broker's life cycle, the table of sessions, the authentication and topic plugins,
take-over. What its packet path does wrong for an IoT Hub is overridden, and `tests/contract/test_amqtt_seam.py`
holds each fact about amqtt 0.12.1 that this file rests on. Nothing else of ours imports amqtt.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from amqtt.adapters import ReaderAdapter, WriterAdapter
from amqtt.broker import Broker as AmqttBroker
from amqtt.contexts import Action as AmqttAction
from amqtt.contexts import ListenerConfig
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session as AmqttSession

from broker.connection import Connection
from broker.gateway import Action, AnyGateway, Close, Drop, Publish, Refusal, Session, Silence
from broker.observer import NOBODY, ConnectionObserver
from broker.outbox import Outbox
from broker.router import Router

logger = logging.getLogger("broker")

LISTENER: Final = "front"

# IoT Hub waits at most 29.45 minutes for a silent client, whatever keep-alive it asked for
# (iot-mqtt-connect-to-iot-hub, "Default keep-alive time-out": documented).
MAX_IDLE_SECONDS: Final = 1767.0
# The service drops a connection without CONNECT after about a minute (protocol gateway's default: assumed).
CONNECT_SECONDS: Final = 60.0
# How long a client may take to read the last bytes before its connection is dropped (assumed).
CLOSE_SECONDS: Final = 10.0


class ConnectionSession(AmqttSession):
    """amqtt's session of one connection: the key it is registered under, and our connection.

    It lives as long as its connection. What MQTT wants kept longer (subscriptions of CleanSession 0, messages that
    wait) is the gateway's, in the store; so amqtt's queues, in-flight tables and state machine are not made.
    """

    is_anonymous = False
    keep_alive = 0

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.client_id: str | None = None
        self.clean_session = True
        self.outcome: tuple[Session, AnyGateway] | Refusal | None = None

    def clear_queues(self) -> None:
        """There are none."""


class ConnectionHandler(BrokerProtocolHandler):
    """amqtt's handle on one connection; it owns no reader task and no streams."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def stop(self) -> None:
        """Close the connection; amqtt calls it when the broker shuts down."""
        self.connection.close("broker is shutting down")


class _Reader(ReaderAdapter):
    """Stands for bytes that amqtt need not read: the CONNECT is parsed before amqtt gets it."""

    async def read(self, n: int = -1) -> bytes:
        return b""

    def feed_eof(self) -> None:
        return


class _Writer(WriterAdapter):
    """Carries the connection through `external_connected`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def write(self, data: bytes) -> None:
        self.connection.write_now(data)

    async def drain(self) -> None:
        return

    def get_peer_info(self) -> tuple[str, int] | None:
        host, _, port = self.connection.remote.rpartition(":")
        return (host, int(port)) if host else None

    def get_ssl_info(self) -> None:
        return None

    async def close(self) -> None:
        self.connection.close("")


_READER: Final = _Reader()


class CertificateAuthentication(BaseAuthPlugin):
    """amqtt's authentication plugin: asks the gateway, with the certificate of this very connection.

    It runs before any session is looked up, so that a refused client can neither evict nor inherit one.
    """

    async def authenticate(self, *, session: AmqttSession) -> bool | None:
        """Decide on a CONNECT; None (no opinion) for a session that is not ours."""
        if not isinstance(session, ConnectionSession):
            return None
        connection = session.connection
        session.outcome = connection.authenticate()
        return not isinstance(session.outcome, Refusal)


class GatewayTopics(BaseTopicPlugin):
    """amqtt's topic plugin: a device may subscribe to what its gateway allows, and receive nothing from others."""

    async def topic_filtering(
        self, *, session: AmqttSession | None = None, topic: str | None = None, action: AmqttAction | None = None
    ) -> bool | None:
        """Tell whether a session may subscribe to a topic filter; publishing between devices is never allowed."""
        if not isinstance(session, ConnectionSession) or topic is None or action is not AmqttAction.SUBSCRIBE:
            return False
        if session.outcome is None or isinstance(session.outcome, Refusal):
            return False
        accepted, gateway = session.outcome
        return gateway.may_subscribe(accepted, topic)


class Broker(AmqttBroker):
    """The front door's broker.

    Args:
        router: finds the gateway of a CONNECT.
        commit: makes durable what the gateways wrote.
        now: the emulator's clock.
        connect_seconds: how long a client may take to send its CONNECT, in real seconds.
        observer: takes note of refusals.
    """

    def __init__(
        self,
        router: Router,
        commit: Callable[[], None],
        now: Callable[[], datetime],
        *,
        connect_seconds: float = CONNECT_SECONDS,
        observer: ConnectionObserver = NOBODY,
    ) -> None:
        super().__init__(
            {
                "listeners": {"default": {"type": "external"}, LISTENER: {"type": "external"}},
                "plugins": {
                    "broker.mqtt.CertificateAuthentication": {},
                    "broker.mqtt.GatewayTopics": {},
                },
            }
        )
        self.outbox = Outbox(commit)
        self.now = now
        self._router = router
        self._connect_seconds = connect_seconds
        self._observer = observer
        self._connections: set[Connection] = set()
        self._adoptions: set[asyncio.Task[None]] = set()

    # --- what a connection asks (broker.connection.Door) ---

    def connection(self) -> Connection:
        """Make the protocol of a client that just arrived."""
        return Connection(self)

    def arrived(self, connection: Connection) -> None:
        """Count the connection in."""
        connection.heard_at = self._loop.time()
        self._connections.add(connection)

    def left(self, connection: Connection) -> None:
        """Count the connection out, and forget its session unless another took over."""
        self._connections.discard(connection)
        key = connection.session.key if connection.session is not None else None
        if key is None:
            return
        entry = self._sessions.get(key)
        if entry is not None and _connection_of(entry) is connection:
            del self._sessions[key]

    def adopt(self, connection: Connection) -> None:
        """Hand a CONNECT to amqtt."""
        task = self._loop.create_task(self.external_connected(_READER, _Writer(connection), LISTENER))
        self._adoptions.add(task)
        task.add_done_callback(self._adopted)

    def _adopted(self, task: "asyncio.Task[None]") -> None:
        self._adoptions.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("CONNECT failed", exc_info=task.exception())

    def authenticate(self, connection: Connection) -> tuple[Session, AnyGateway] | Refusal:
        """Ask the gateway behind the user name whether this connection is whom it says."""
        request = connection.request()
        now = self.now()
        gateway = self._router.find(request.user_name)
        session = gateway if isinstance(gateway, Refusal) else gateway.connect(request, now)
        if isinstance(gateway, Refusal) or isinstance(session, Refusal):
            self._observer.refused(request, session, now)
            return session
        return session, gateway

    def perform(self, actions: list[Action]) -> None:
        """Carry out what a gateway wants done to connections; one that is gone misses it."""
        for action in actions:
            entry = self._sessions.get(action.session_key)
            if entry is None:
                continue
            connection = _connection_of(entry)
            if isinstance(action, Publish):
                connection.publish(action)
            elif isinstance(action, Close):
                connection.close(action.reason)
            elif isinstance(action, Drop):
                connection.drop(action.reason)
            elif isinstance(action, Silence):
                connection.silence(action.reason)

    def substitute(self, replacements: Mapping[AnyGateway, AnyGateway]) -> None:
        """Put other gateways in the place of these, for new connections and for those that are open."""
        self._router.substitute(replacements)
        for connection in self._connections:
            if connection.gateway is not None:
                connection.gateway = replacements.get(connection.gateway, connection.gateway)

    # --- amqtt's life cycle, overridden ---

    async def _client_connected(self, listener_name: str, reader: ReaderAdapter, writer: WriterAdapter) -> None:
        """Authenticate, take over, accept; then nothing until the client is gone.

        amqtt would look the session up first, evict its owner and only then ask the plugin (facts B and C).
        """
        assert isinstance(writer, _Writer)
        try:
            await self._decide(writer.connection, self.listeners_config[listener_name])
        except Exception:
            writer.connection.drop("internal error at CONNECT")
            raise

    async def _authenticate(self, session: AmqttSession, _: ListenerConfig) -> bool:
        """Ask the authentication plugins in turn; all that have an opinion must agree, and one must have it.

        amqtt's own makes a task and a gather for each plugin and CONNECT, which costs as much as the rest of its path.
        """
        opinions = [await plugin.authenticate(session=session) for plugin in self.plugins_manager._auth_plugins]  # noqa: SLF001
        given = [each for each in opinions if each is not None]
        return bool(given) and all(given)

    async def _decide(self, connection: Connection, listener: ListenerConfig) -> None:
        if connection.is_closed:
            return  # the client left already: nobody is let in
        session = ConnectionSession(connection)
        accepted = await self._authenticate(session, listener)
        outcome = session.outcome
        if not accepted or outcome is None or isinstance(outcome, Refusal):
            assert isinstance(outcome, Refusal)
            connection.refuse(outcome)
            return
        self._take_over(session, connection, *outcome)

    def _take_over(
        self, session: ConnectionSession, connection: Connection, ours: Session, gateway: AnyGateway
    ) -> None:
        if connection.is_closed:
            return  # the client left while the plugin was asked
        session.client_id = ours.key
        previous = self._sessions.get(ours.key)
        if previous is not None:
            _connection_of(previous).close(f"taken over by {connection.remote}")
        self._sessions[ours.key] = (session, ConnectionHandler(connection))
        connection.accept(ours, gateway, self._idle_limit(connection))

    def _idle_limit(self, connection: Connection) -> float:
        keep_alive = connection.connect.keep_alive_seconds if connection.connect is not None else 0
        return min(keep_alive * 1.5, MAX_IDLE_SECONDS) if keep_alive else MAX_IDLE_SECONDS

    async def _session_monitor(self) -> None:
        """Do each second what deadlines ask for.

        amqtt's own monitor purges sessions that outlived their connection; ours never do.
        """
        while True:
            await asyncio.sleep(1)
            try:
                self.sweep()
            except Exception:
                logger.exception("sweep failed; the next one comes")

    def sweep(self) -> None:
        """Close who was silent too long or whose credential ended, and let the gateways see the time."""
        real, now = self._loop.time(), self.now()
        for connection in list(self._connections):
            self._sweep(connection, real, now)
        for gateway in self._router.gateways():
            self._tick(gateway, now)
        self.outbox.touch()

    def _sweep(self, connection: Connection, real: float, now: datetime) -> None:
        session = connection.session
        silent = real - connection.heard_at
        if connection.is_closed:
            if silent > CLOSE_SECONDS:
                connection.drop(f"does not take its last bytes within {CLOSE_SECONDS:g} s")
            return
        if session is None:
            if silent > self._connect_seconds:
                connection.drop(f"no CONNECT within {self._connect_seconds:g} s")
            return
        if connection.idle_limit is not None and silent > connection.idle_limit:
            connection.drop(f"silent for {silent:.1f} s, over 1.5 times its keep-alive")
        elif session.expires_at is not None and session.expires_at <= now:
            self._observer.expired(session, connection.remote, now)
            connection.close(f"its credential expired at {session.expires_at:%Y-%m-%dT%H:%M:%SZ}")

    def _tick(self, gateway: AnyGateway, now: datetime) -> None:
        try:
            self.perform(gateway.tick(now))
        except Exception:
            logger.exception("deadline handling failed")

    async def _broadcast_loop(self) -> None:
        """Nothing is ever broadcast: a device is answered on its own session, not through a subscription tree."""

    async def shutdown(self) -> None:
        """Close every connection, then amqtt."""
        for connection in list(self._connections):
            connection.close("broker is shutting down")
        self.outbox.flush()
        await super().shutdown()

    @property
    def connected(self) -> int:
        """How many clients are past CONNACK."""
        return len(self._sessions)


def _connection_of(entry: tuple[Any, Any]) -> Connection:
    handler = entry[1]
    assert isinstance(handler, ConnectionHandler)
    return handler.connection
