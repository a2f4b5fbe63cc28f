"""A hub's REST API under arbitrary requests: a documented error body, nothing half-written, always readable again."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from adr.registry import AdrRegistry
from broker.gateway import Action
from certs.keyfile import MemoryKeyStore
from emulator.hub_rest.api import HubRest
from emulator.hub_rest.exchange import Received, Reply
from emulator.hub_rest.routes import LOCAL_ROUTES, ROUTES
from emulator.store import SqliteStore
from hub.hub import Hub, HubSettings
from hub.identity import Authentication, AuthenticationType

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
VERSION = "api-version=2021-04-12"

names = st.sampled_from(["dev1", "dev2", "mod1", "*", "a" * 129, "x/y", "\x00", "ü"])
segments = names | st.text(min_size=1, max_size=20).filter(lambda text: text not in {".", ".."})
words = st.sampled_from(
    [
        "dev1", "dev2", "sas", "selfSigned", "certificateAuthority", "enabled", "disabled", "createOrUpdate", "delete",
        "SELECT * FROM devices", "SELECT * FROM devices WHERE tags.a = 1", "ping", "$x", "a.b", "\ud800",
    ]
)  # fmt: skip
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words | st.text(max_size=20)
# Not the time-outs of a method call: those are waited for.
members = st.sampled_from(
    [
        "deviceId", "moduleId", "id", "status", "statusReason", "authentication", "type", "symmetricKey", "primaryKey",
        "x509Thumbprint", "primaryThumbprint", "capabilities", "iotEdge", "importMode", "eTag", "tags", "properties",
        "desired", "reported", "methodName", "payload", "query", "body", "expiryTimeUtc", "ack", "messageId", "$x",
    ]
)  # fmt: skip
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(members, inner, max_size=5), max_leaves=20
)
bodies = st.one_of(
    st.binary(max_size=40),
    st.just(b"[" * 100_000),
    documents.map(lambda document: json.dumps(document).encode()),
    st.dictionaries(members, documents, max_size=4).map(lambda each: json.dumps({"deviceId": "dev1", **each}).encode()),
)
if_matches = st.sampled_from([None, "*", '"*"', "x", '""'])


class House:
    """A hub with one device, served without sockets."""

    def __init__(self) -> None:
        self.store = SqliteStore(":memory:")
        settings = HubSettings(name="hub1", host_name="hub1.example")
        self.hub = Hub(settings, self.store, AdrRegistry(self.store, MemoryKeyStore()))
        self.hub.registry.create("dev1", Authentication(AuthenticationType.SAS), NOW)
        self.store.commit()
        self.rest = HubRest([self.hub], self, lambda: NOW)

    def perform(self, actions: Sequence[Action]) -> None:
        """Nobody is connected."""

    async def committed(self) -> None:
        self.store.commit()

    def records(self) -> list[Any]:
        return list(self.store._database.execute("SELECT tbl, key, value FROM records ORDER BY tbl, key"))

    def ask(self, method: str, path: str, body: bytes, if_match: str | None = None) -> Reply:
        headers = {} if if_match is None else {"if-match": if_match}
        return asyncio.run(self.rest.answer_local("hub1", Received(method, path, headers, body)))


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, bytes, str | None]:
    """A request to one of the paths, with parameters and body of any kind."""
    route = draw(st.sampled_from((*ROUTES, *LOCAL_ROUTES)))
    path = "/".join(quote(draw(segments), safe="") if part.startswith("{") else part for part in route.template)
    query = draw(
        st.sampled_from([VERSION] * 4 + ["", f"{VERSION}&top=-1", f"{VERSION}&top={10**30}", "api-version=%ff"])
    )
    method = draw(st.sampled_from([route.method] * 6 + ["GET", "PUT", "POST", "PATCH", "DELETE", "BREW"]))
    return method, f"/{path}?{query}", draw(bodies), draw(if_matches)


def is_bulk(reply: Reply) -> bool:
    return b'"isSuccessful"' in reply.body and set(json.loads(reply.body)) == {"isSuccessful", "errors", "warnings"}


def assert_documented(reply: Reply) -> None:
    document = json.loads(reply.body)
    if "errorCode" in document:
        assert {"message", "trackingId", "timestampUtc"} <= set(document)
    else:
        assert set(document) == {"Message", "ExceptionMessage"}
    assert reply.headers["iothub-errorcode"].isalnum()
    assert b"Traceback" not in reply.body
    assert 400 <= reply.status < 500, reply


@settings(max_examples=300, deadline=None)
@given(st.lists(requests(), min_size=1, max_size=4))
def test_any_request_is_answered_and_what_is_refused_leaves_no_trace(
    sent: list[tuple[str, str, bytes, str | None]],
) -> None:
    """Whatever comes: JSON in one of the hub's envelopes, nothing written by a refusal, everything still readable."""
    house = House()
    for method, path, body, if_match in sent:
        before = house.records()
        reply = house.ask(method, path, body, if_match)
        if is_bulk(reply):
            continue  # it has done what it could, and says for each device how that went
        if reply.status >= 400:
            assert_documented(reply)
            assert house.records() == before
        elif reply.body:
            json.loads(reply.body)
    for path in ("devices", "devices/dev1/modules", "statistics/devices"):
        assert house.ask("GET", f"/{path}?{VERSION}", b"").status < 500
    found = house.ask("POST", f"/devices/query?{VERSION}", b'{"query": "SELECT * FROM devices"}')
    assert found.status == 200
    house.store.close()
