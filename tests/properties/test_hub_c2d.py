"""A device and a service around one queue, in any order of steps, against a model: a list of messages."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from adr.registry import AdrRegistry
from broker.gateway import Action, ConnectRequest, Publish
from certs.keyfile import MemoryKeyStore
from certs.peer import PeerChain
from emulator.store import SqliteStore
from hub.c2d import LOCK_DURATION
from hub.c2d_message import MessageContent
from hub.errors import ArgumentInvalid, DeviceMaximumQueueDepthExceeded
from hub.hub import Hub, HubSettings
from hub.message_document import parse_message_document
from hub.property_bag import parse_property_bag
from hub.sas import format_sas_token
from hub.session import HubSession

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
FILTER = "devices/dev1/messages/devicebound/#"


@dataclass
class Sent:
    """A message of the model: who holds it (a connection's number), until when, and the token it was given."""

    body: bytes
    at: datetime
    expires_at: datetime
    holder: int = 0
    until: datetime = START
    token: str = ""


class Queue(RuleBasedStateMachine):
    """The model: the messages in order, the connection's number, and since when it is subscribed."""

    @initialize()
    def start(self) -> None:
        self.store = SqliteStore(":memory:")
        self.hub = Hub(HubSettings("hub1", "h"), self.store, AdrRegistry(self.store, MemoryKeyStore()))
        key = self.hub.registry.create("dev1", None, START).authentication.primary_key
        self.password = format_sas_token("h", str(key), 2_000_000_000).encode()
        self.now = START
        self.queue: list[Sent] = []
        self.sent = 0
        self.number = 0
        self.since: datetime | None = None
        self.session: HubSession | None = None

    def expect(self, actions: list[Action]) -> None:
        """Check that exactly what the model says is delivered, and let the connection hold it."""
        since = self.since if self.session is not None else None
        wanted = [
            each
            for each in self.queue
            if since is not None and each.at >= since and each.holder != self.number and each.expires_at > self.now
        ]
        delivered = [action for action in actions if isinstance(action, Publish)]
        assert [action.payload for action in delivered] == [each.body for each in wanted]
        for each, action in zip(wanted, delivered, strict=True):
            each.holder, each.until, each.token = self.number, self.now + LOCK_DURATION, action.token

    @rule(lifetime=st.sampled_from([None, 30, 90]))
    def send(self, lifetime: int | None) -> None:
        self.sent += 1
        body = b"%d" % self.sent
        expires_at = None if lifetime is None else self.now + timedelta(seconds=lifetime)
        _, actions = self.hub.c2d.send("dev1", MessageContent(body, expires_at=expires_at), self.now)
        self.queue.append(Sent(body, self.now, expires_at or self.now + timedelta(hours=1)))
        self.expect(actions)

    @rule()
    def fill_up(self) -> None:
        while len(self.queue) < 50:
            self.send(None)
        try:
            self.hub.c2d.send("dev1", MessageContent(b""), self.now)
        except DeviceMaximumQueueDepthExceeded:
            self.purge()
            return
        raise AssertionError("the queue took its 51st message")

    @rule()
    def purge(self) -> None:
        assert self.hub.c2d.purge("dev1", self.now) == len(self.queue)
        self.queue = []

    @rule(clean=st.booleans())
    def connect(self, clean: bool) -> None:
        self.disconnect()
        request = ConnectRequest("dev1", "h/dev1/?api-version=x", self.password, clean, 60, None, PeerChain(), "")
        session = self.hub.gateway.connect(request, self.now)
        assert isinstance(session, HubSession)
        self.session = session
        self.number += 1
        if not session.session_present:
            self.since = None
        self.expect(self.hub.gateway.opened(session, self.now))

    @rule()
    def disconnect(self) -> None:
        if self.session is None:
            return
        session, self.session = self.session, None
        assert self.hub.gateway.disconnected(session, self.now, will=None) == []
        if session.clean_session:
            self.since = None

    @precondition(lambda self: self.session is not None)
    @rule()
    def subscribe(self) -> None:
        assert self.session is not None
        self.since = self.since or self.now
        self.expect(self.hub.gateway.subscribed(self.session, [(FILTER, 1)], self.now))

    @precondition(lambda self: self.session is not None)
    @rule()
    def unsubscribe(self) -> None:
        assert self.session is not None
        self.since = None
        assert self.hub.gateway.unsubscribed(self.session, [FILTER], self.now) == []

    @precondition(lambda self: self.session is not None and any(each.token for each in self.queue))
    @rule(choice=st.randoms(use_true_random=False))
    def acknowledge(self, choice: object) -> None:
        assert self.session is not None
        each = choice.choice([each for each in self.queue if each.token])  # type: ignore[attr-defined]
        assert self.hub.gateway.acknowledged(self.session, each.token, self.now) == []
        if each.holder:
            self.queue.remove(each)

    @rule(seconds=st.sampled_from([1, 29, 60, 3600]))
    def tick(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        actions = self.hub.gateway.tick(self.now)
        self.queue = [each for each in self.queue if each.expires_at > self.now]
        unlocked = [each for each in self.queue if each.holder and each.until <= self.now]
        for each in unlocked:
            each.holder = 0
        if unlocked:
            self.expect(actions)
        else:
            assert actions == []

    @invariant()
    def queue_is_the_model(self) -> None:
        if hasattr(self, "store"):
            held = self.hub.c2d._queue.list("dev1")
            assert [message.content.body for message in held] == [each.body for each in self.queue]
            assert [message.lock is not None for message in held] == [bool(each.holder) for each in self.queue]
            assert len(self.store.list("hub1.c2d-deadlines")) == len(self.queue)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()


Queue.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestQueue = Queue.TestCase

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda n: not n.startswith("$.")
)


@given(st.dictionaries(names, st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=4))
def test_properties_arrive_as_they_were_sent(properties: dict[str, str | None]) -> None:
    content = parse_message_document({"properties": properties})
    with SqliteStore(":memory:") as store:
        hub = Hub(HubSettings("hub1", "h", deliver_earlier_messages=True), store, AdrRegistry(store, MemoryKeyStore()))
        key = hub.registry.create("dev1", None, START).authentication.primary_key
        password = format_sas_token("h", str(key), 2_000_000_000).encode()
        request = ConnectRequest("dev1", "h/dev1/?api-version=x", password, True, 60, None, PeerChain(), "")
        session = hub.gateway.connect(request, START)
        assert isinstance(session, HubSession)
        hub.c2d.send("dev1", content, START)
        (message,) = hub.gateway.subscribed(session, [(FILTER, 1)], START)
    assert isinstance(message, Publish)
    bag = parse_property_bag(message.topic.removeprefix("devices/dev1/messages/devicebound/"))
    assert bag == {"$.to": "/devices/dev1/messages/deviceBound", **properties}


@given(st.dictionaries(st.sampled_from(["body", "bodyBase64", "ack", "expiryTimeUtc", "properties", "messageId", "x"]),
                       st.none() | st.integers() | st.text(max_size=5) | st.lists(st.none(), max_size=1)))  # fmt: skip
def test_any_document_is_a_message_or_a_documented_error(document: dict[str, object]) -> None:
    try:
        parse_message_document(document)
    except ArgumentInvalid:
        return
    assert "x" not in document
