"""A device renewing its certificate in any order of steps, against a model of a dozen lines."""

import json
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from adr.registry import AdrRegistry
from broker.gateway import Action, ConnectRequest, Publish
from certs.keyfile import MemoryKeyStore
from certs.peer import PeerChain
from emulator.store import SqliteStore
from hub.credential_operation import OperationState
from hub.hub import Hub, HubSettings
from hub.sas import format_sas_token
from hub.session import HubSession

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
DELAY, LIFETIME = timedelta(seconds=10), timedelta(hours=12)
ANSWERS = "$iothub/credentials/res/#"
# Not PKCS#10: the result is an error, which is held and delivered as a certificate is, without the signing.
BODY = {"id": "dev1", "csr": "bm90IGEgQ1NS"}


class Renewal(RuleBasedStateMachine):
    """The model: one request at most, where it stands, when it was made, whether answers are subscribed to, and
    whether this connection was sent the result."""

    @initialize()
    def start(self) -> None:
        self.store = SqliteStore(":memory:")
        adr = AdrRegistry(self.store, MemoryKeyStore())
        adr.create_namespace("factory", START)
        adr.create_policy("factory", "default", START)
        adr.register_device("factory", "dev1", "default", START)
        hub_settings = HubSettings("hub1", "h", namespace="factory", issuing_delay=DELAY, operation_lifetime=LIFETIME)
        self.hub = Hub(hub_settings, self.store, adr)
        key = self.hub.registry.create("dev1", None, START).authentication.primary_key
        self.password = format_sas_token("h", str(key), 2_000_000_000).encode()
        self.now = START
        self.state = OperationState.ABSENT
        self.request_id = ""
        self.made = START
        self.subscribed = False
        self.in_flight = False
        self.count = 0
        self.connect(clean=True)

    def connect(self, *, clean: bool) -> None:
        name = "h/dev1/?api-version=2025-08-01-preview"
        request = ConnectRequest("dev1", name, self.password, clean, 60, None, PeerChain(), "")
        session = self.hub.gateway.connect(request, self.now)
        assert isinstance(session, HubSession)
        self.session = session
        self.opened = self.hub.gateway.opened(session, self.now)

    def answers(self, actions: list[Action]) -> list[tuple[str, str]]:
        """The status and request ID of each answer; a result is acknowledged by a rule of its own."""
        found = []
        for action in actions:
            assert isinstance(action, Publish)
            assert action.session_key == "hub1/dev1"
            found.append((action.topic.split("/")[3], action.topic.partition("$rid=")[2]))
            if action.token:
                self.token = action.token
                self.in_flight = True
        return found

    def result(self) -> list[tuple[str, str]]:
        is_due = self.state is OperationState.COMPLETED and self.subscribed and not self.in_flight
        return [("400", self.request_id)] if is_due else []

    @rule(replace=st.sampled_from([None, "*", "the pending one", "another"]))
    def request(self, replace: str | None) -> None:
        self.count += 1
        request_id = f"request-{self.count}"
        named = self.request_id if replace == "the pending one" and self.request_id else replace
        body = {**BODY, "replace": named if named != "the pending one" else "none-yet"}
        topic = f"$iothub/credentials/POST/issueCertificate/?$rid={request_id}"
        actions = self.hub.gateway.receive(
            self.session, topic, json.dumps(body).encode(), 1, retain=False, dup=False, now=self.now
        )
        status = self.expected_status(replace)
        assert self.answers(actions) == ([(status, request_id)] if self.subscribed else [])
        if self.subscribed and status == "202":
            self.state, self.request_id, self.made = OperationState.PENDING, request_id, self.now
            self.in_flight = False

    def expected_status(self, replace: str | None) -> str:
        pending = self.state is OperationState.PENDING
        if replace in ("the pending one", "another"):
            return "202" if pending and replace == "the pending one" else "412"
        return "409" if pending and replace is None else "202"

    @rule(elapsed=st.sampled_from([timedelta(seconds=1), DELAY, timedelta(hours=5), LIFETIME]))
    def tick(self, elapsed: timedelta) -> None:
        self.now += elapsed
        actions = self.hub.gateway.tick(self.now)
        age = self.now - self.made
        if self.state is not OperationState.ABSENT and age >= LIFETIME:
            self.state = OperationState.ABSENT
        expected = []
        if self.state is OperationState.PENDING and age >= DELAY:
            self.state = OperationState.COMPLETED
            expected = self.result()
        assert self.answers(actions) == expected

    @rule()
    def subscribe(self) -> None:
        self.subscribed = True
        actions = self.hub.gateway.subscribed(self.session, [(ANSWERS, 1)], self.now)
        expected = self.result()
        assert self.answers(actions) == expected

    @rule()
    def unsubscribe(self) -> None:
        self.subscribed = False
        assert self.hub.gateway.unsubscribed(self.session, [ANSWERS], self.now) == []

    @rule(clean=st.booleans())
    def reconnect(self, clean: bool) -> None:
        lasting = not clean and not self.session.clean_session
        assert self.hub.gateway.disconnected(self.session, self.now, will=None) == []
        self.subscribed = self.subscribed and lasting
        self.in_flight = False
        self.connect(clean=clean)
        assert self.session.session_present == lasting
        expected = self.result()
        assert self.answers(self.opened) == expected

    @precondition(lambda self: self.state is OperationState.COMPLETED and self.in_flight)
    @rule()
    def acknowledge(self) -> None:
        assert self.hub.gateway.acknowledged(self.session, self.token, self.now) == []
        self.state = OperationState.ABSENT

    @invariant()
    def at_most_one_request_is_stored_with_one_deadline(self) -> None:
        if hasattr(self, "store"):
            expected = 0 if self.state is OperationState.ABSENT else 1
            assert len(self.store.list("hub1.credentials")) == expected
            assert len(self.store.list("hub1.credential-deadlines")) == expected

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()


Renewal.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestRenewal = Renewal.TestCase
