"""The management API under arbitrary requests: a documented error body, nothing half-written, always readable again."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.adr_rest.routes import ROUTES, Generation
from tests.doubles.management import DRAFT, FIRST, NOW, SCOPE, SECOND, ManagementHouse

names = st.sampled_from(["works", "plant-1", "default-root", "pump", "new-one", "WORKS", "x", "-bad-", "a" * 64])
segments = names | st.text(min_size=1, max_size=70).filter(lambda text: text not in {".", ".."})
words = st.sampled_from(["ECC", "RSA", "Root", "ICA", "BringYourOwn", "Microsoft", "External", "works", "plant-1"])
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words | st.text(max_size=20)
members = st.sampled_from(
    [
        "properties", "certificate", "certificateAuthorityConfiguration", "leafCertificateConfiguration", "keyType",
        "validityPeriodInDays", "bringYourOwnRoot", "enabled", "certificateAuthorityType", "issuer", "issuerType",
        "certificateAuthorityResourceId", "certificateChain", "disable", "messaging", "provisioning", "endpoints",
        "endpointType", "resourceId", "address", "tags", "location", "policy", "attributes", "manufacturer", "hub1",
    ]
)  # fmt: skip
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(members, inner, max_size=5), max_leaves=25
)


def nested(*path: str) -> st.SearchStrategy[Any]:
    """A document with something arbitrary at a place that matters."""
    strategy: st.SearchStrategy[Any] = documents
    for member in reversed(path):
        strategy = st.builds(lambda value, name=member: {name: value}, strategy)
    return strategy


bodies = st.one_of(
    st.binary(max_size=40),
    st.just(b"[" * 100_000),
    st.one_of(
        documents,
        nested("properties"),
        nested("properties", "certificate", "leafCertificateConfiguration", "validityPeriodInDays"),
        nested("properties", "certificate", "certificateAuthorityConfiguration"),
        nested("properties", "certificate", "validityPeriodInDays"),
        nested("properties", "messaging", "endpoints", "hub2"),
        nested("properties", "provisioning", "endpoints"),
        nested("properties", "policy", "resourceId"),
        nested("tags"),
        nested("certificateChain"),
        nested("disable"),
    ).map(lambda document: json.dumps(document).encode()),
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, bytes]:
    """A request to one of the paths, with parameters and body of any kind."""
    route = draw(st.sampled_from(ROUTES))
    path = "/".join(quote(draw(segments), safe="") if part.startswith("{") else part for part in route.template)
    usual = FIRST if route.generation is Generation.FIRST else draw(st.sampled_from([SECOND, DRAFT]))
    version = draw(st.sampled_from([usual] * 8 + [FIRST, SECOND, "", "2026", "\x00"]))
    method = draw(st.sampled_from([route.method] * 6 + ["GET", "PUT", "POST", "PATCH", "DELETE", "BREW"]))
    return method, f"{SCOPE}/{path}?api-version={quote(version)}", draw(bodies)


def records(house: ManagementHouse) -> list[Any]:
    return list(house.store._database.execute("SELECT tbl, key, value FROM records ORDER BY tbl, key"))


def assert_documented(status: int, body: bytes) -> None:
    document = json.loads(body)
    assert set(document) == {"error"}, document
    assert set(document["error"]) == {"code", "message"}
    assert document["error"]["code"].isalnum()
    assert document["error"]["message"]
    assert "Traceback" not in document["error"]["message"]
    assert 400 <= status < 600


@settings(max_examples=400, deadline=None)
@given(st.lists(requests(), min_size=1, max_size=4))
def test_any_request_is_answered_and_what_is_refused_leaves_no_trace(sent: list[tuple[str, str, bytes]]) -> None:
    """Whatever comes: JSON of ARM's form, nothing written by a refusal, and every list still readable."""
    house = ManagementHouse()
    house.adr.register_device("works", "pump", "plant-1", NOW)
    house.store.commit()
    for method, path, body in sent:
        before = records(house)
        answer = asyncio.run(house.answer(method, path, body=body))
        if answer.status >= 400:
            assert answer.status != 500, answer
            assert_documented(answer.status, answer.body)
            assert records(house) == before
        elif answer.body:
            json.loads(answer.body)
    assert_readable(house)
    house.store.close()


def assert_readable(house: ManagementHouse) -> None:
    """What is there can be listed and shown in both generations."""
    for namespace in house.adr.namespaces():
        for path, version in (("devices", FIRST), ("credentials", FIRST), ("certificateAuthorities", SECOND)):
            status, _ = asyncio.run(house.ask("GET", f"namespaces/{namespace.name}/{path}", version=version))
            assert status == 200
        for policy in house.adr.policies(namespace.name):
            path = f"namespaces/{namespace.name}/credentials/default/policies/{policy.name}"
            status, _ = asyncio.run(house.ask("GET", path))
            assert status == 200
    status, _ = asyncio.run(house.ask("GET", "namespaces"))
    assert status == 200


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60), st.sampled_from(["GET", "PUT", "DELETE"]))
def test_any_path_is_answered_with_a_documented_error(path: str, method: str) -> None:
    """Paths of no resource: refused, never a failure of ours."""
    house = ManagementHouse()
    answer = asyncio.run(house.answer(method, f"/subscriptions/{quote(path)}?api-version={FIRST}"))
    assert_documented(answer.status, answer.body)
    answer = asyncio.run(house.answer(method, f"/subscriptions/{path}"))
    assert_documented(answer.status, answer.body)
    house.store.close()
