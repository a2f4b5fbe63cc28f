"""A gateway that does what a test tells it and remembers what it was asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from broker.gateway import Action, ConnectRequest, ConnectReturnCode, Refusal, Session, Will

HOST = "hub.test"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class StubSession:
    """What the broker reads of an accepted connection."""

    key: str
    device_id: str
    session_present: bool = False
    expires_at: datetime | None = None


def user_name(device_id: str) -> str:
    """The user name that routes to a hub with the host name `HOST`."""
    return f"{HOST}/{device_id}/?api-version=2021-04-12"


@dataclass(eq=False)
class StubGateway:
    """Accepts every client ID not in `refused`; `calls` names each call in order.

    The callables answer in the place of an empty list; `fails_in` names calls that raise.
    """

    refused: set[str] = field(default_factory=set)
    fails_in: set[str] = field(default_factory=set)
    calls: list[tuple[object, ...]] = field(default_factory=list)
    requests: list[ConnectRequest] = field(default_factory=list)
    session: Callable[[ConnectRequest], Session] = lambda request: StubSession(
        f"hub/{request.client_id}", request.client_id
    )
    on_opened: Callable[[Session], list[Action]] = lambda session: []
    on_receive: Callable[[Session, str, bytes], list[Action]] = lambda session, topic, payload: []
    on_acknowledged: Callable[[Session, str], list[Action]] = lambda session, token: []
    on_disconnected: Callable[[Session], list[Action]] = lambda session: []
    on_tick: Callable[[], list[Action]] = list

    def _called(self, name: str, *arguments: object) -> None:
        self.calls.append((name, *arguments))
        if name in self.fails_in:
            raise RuntimeError(f"the stub fails in {name}")

    def named(self, name: str) -> list[tuple[object, ...]]:
        """The arguments of each call with this name."""
        return [call[1:] for call in self.calls if call[0] == name]

    def connect(self, request: ConnectRequest, now: datetime) -> Session | Refusal:
        self.requests.append(request)
        self._called("connect", request.client_id)
        if request.client_id in self.refused:
            return Refusal(ConnectReturnCode.NOT_AUTHORIZED, "the stub refuses it")
        return self.session(request)

    def opened(self, session: Session, now: datetime) -> list[Action]:
        self._called("opened", session.key)
        return self.on_opened(session)

    def may_subscribe(self, session: Session, topic_filter: str) -> bool:
        self._called("may_subscribe", session.key, topic_filter)
        return not topic_filter.startswith("forbidden")

    def subscribed(self, session: Session, topic_filters: Sequence[tuple[str, int]], now: datetime) -> list[Action]:
        self._called("subscribed", session.key, *topic_filters)
        return []

    def unsubscribed(self, session: Session, topic_filters: Sequence[str], now: datetime) -> list[Action]:
        self._called("unsubscribed", session.key, *topic_filters)
        return []

    def receive(
        self, session: Session, topic: str, payload: bytes, qos: int, *, retain: bool, dup: bool, now: datetime
    ) -> list[Action]:
        self._called("receive", session.key, topic, payload, qos, retain, dup)
        return self.on_receive(session, topic, payload)

    def acknowledged(self, session: Session, token: str, now: datetime) -> list[Action]:
        self._called("acknowledged", session.key, token)
        return self.on_acknowledged(session, token)

    def disconnected(self, session: Session, now: datetime, *, will: Will | None) -> list[Action]:
        self._called("disconnected", session.key, will)
        return self.on_disconnected(session)

    def tick(self, now: datetime) -> list[Action]:
        self._called("tick")
        return self.on_tick()
