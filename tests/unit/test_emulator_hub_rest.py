"""The service REST API without sockets: requests as they are read, answers as they are written."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest

from adr.store import StoreError
from broker.gateway import Action, Close, Publish
from emulator.faults.quota import ServiceOperation
from emulator.hub_rest.api import HubRest
from emulator.hub_rest.exchange import Received, Reply
from emulator.hub_rest.routes import ROUTES, find_routes
from hub.sas import format_sas_token

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MANY = 1100


class Service:
    """A client of the service API with the owner's policy; it stands in the place of the delivery too."""

    def __init__(self, house: Any) -> None:
        self.house, self.hub = house, house.hub
        self.performed: list[Action] = []
        self.has_performed = asyncio.Event()
        self.commit_fails = False
        self.rest = HubRest([house.hub], self, lambda: NOW)

    def perform(self, actions: Sequence[Action]) -> None:
        self.performed += actions
        self.has_performed.set()

    async def committed(self) -> None:
        if self.commit_fails:
            raise StoreError("disk full")
        self.house.store.commit()

    def token(self, policy: str = "iothubowner", resource: str = "hub1.example", expires_at: int = 1900000000) -> str:
        key = self.hub.policies.get(policy).primary_key
        return format_sas_token(quote(resource, safe=""), key, expires_at, policy)

    async def ask(self, method: str, path: str, document: Any = None, **headers: str) -> Reply:
        sent = {"host": "hub1.example:8443", "authorization": self.token(), **headers}
        sent = {name.replace("_", "-"): value for name, value in sent.items()}
        body = b"" if document is None else json.dumps(document).encode()
        reply = await self.rest.answer(Received(method, path, sent, body))
        assert reply is not None
        return reply


@pytest.fixture
def service(house: Any) -> Service:
    return Service(house)


def read(reply: Reply) -> Any:
    return json.loads(reply.body)


def refused(reply: Reply) -> tuple[int, str]:
    document = read(reply)
    name = reply.headers["iothub-errorcode"]
    if "Message" in document and not document["Message"].startswith("{"):
        assert document["Message"].startswith(f"ErrorCode:{name};")
        assert document["ExceptionMessage"].startswith("Tracking ID:")
    return reply.status, name


async def test_device_is_created_with_keys_and_200(service: Service) -> None:
    reply = await service.ask("PUT", "/devices/dev1?api-version=2021-04-12", {"deviceId": "dev1"})
    document = read(reply)
    assert reply.status == 200
    assert reply.headers["ETag"] == f'"{document["etag"]}"'
    assert len(document["authentication"]["symmetricKey"]["primaryKey"]) == 44
    assert (document["connectionState"], document["lastActivityTime"]) == ("Disconnected", "0001-01-01T00:00:00Z")
    assert read(await service.ask("GET", "/devices/dev1")) == document


@pytest.mark.parametrize("device_id", ["a%b", "a#b?c", "a+b", "%25", "A.:-_*!(),=@;$'"])
async def test_id_in_the_path_is_decoded_once(service: Service, device_id: str) -> None:
    await service.ask("PUT", f"/devices/{quote(device_id, safe='')}", {"deviceId": device_id})
    assert service.hub.registry.get(device_id) is not None


@pytest.mark.parametrize(
    ("if_match", "outcome"),
    [
        (None, (409, "DeviceAlreadyExists")),
        ("*", 200),
        ('"*"', 200),
        ("stale", (412, "PreconditionFailed")),
        ('"stale"', (412, "PreconditionFailed")),
        ("present", 200),
        ('"present"', 200),
    ],
)
async def test_if_match_decides_between_create_and_update(service: Service, if_match: str | None, outcome: Any) -> None:
    service.house.register("dev1")
    before = service.hub.registry.get("dev1")
    headers = {} if if_match is None else {"if_match": if_match.replace("present", before.etag)}
    reply = await service.ask("PUT", "/devices/dev1", {"status": "disabled", "statusReason": "why"}, **headers)
    if outcome == 200:
        after = service.hub.registry.get("dev1")
        assert (after.enabled, after.status_reason) == (False, "why")
        assert after.authentication != before.authentication, "keys that are not given are made anew"
        assert after.generation_id == before.generation_id
    else:
        assert refused(reply) == outcome


async def test_update_of_nothing_is_404(service: Service) -> None:
    assert refused(await service.ask("PUT", "/devices/dev1", {}, if_match="*")) == (404, "DeviceNotFound")


@pytest.mark.parametrize(
    "document",
    [
        {"deviceId": "other"},
        {"status": "asleep"},
        {"status": 1},
        {"authentication": {"type": "none"}},
        {"authentication": {"symmetricKey": {"primaryKey": "AAAA"}}},
        {"authentication": {"type": "magic"}},
        {"capabilities": {"iotEdge": True}},
        [],
    ],
)
async def test_bad_identity_is_refused(service: Service, document: Any) -> None:
    assert refused(await service.ask("PUT", "/devices/dev1", document)) == (400, "ArgumentInvalid")
    assert service.hub.registry.get("dev1") is None


async def test_body_that_is_not_json_is_refused(service: Service) -> None:
    headers = {"host": "hub1.example", "authorization": service.token()}
    reply = await service.rest.answer(Received("PUT", "/devices/dev1", headers, b"{"))
    assert reply is not None
    assert refused(reply) == (400, "IotHubFormatError")


async def test_thumbprints_make_a_self_signed_device(service: Service) -> None:
    authentication = {"x509Thumbprint": {"primaryThumbprint": "A" * 40, "SecondaryThumbprint": "b" * 64}}
    await service.ask("PUT", "/devices/dev1", {"authentication": authentication})
    found = service.hub.registry.get("dev1").authentication
    assert (found.type, found.primary_thumbprint, found.secondary_thumbprint) == ("selfSigned", "A" * 40, "b" * 64)


async def test_delete_needs_if_match_and_puts_the_device_out(service: Service) -> None:
    chain = service.house.onboard("dev1")
    service.house.connect("dev1", peer_chain=chain)
    assert refused(await service.ask("DELETE", "/devices/dev1")) == (412, "PreconditionFailed")
    assert (await service.ask("DELETE", "/devices/dev1", if_match='"*"')).status == 204
    assert service.performed == [Close("hub1/dev1", "device dev1 was deleted")]
    assert refused(await service.ask("DELETE", "/devices/dev1", if_match="*")) == (404, "DeviceNotFound")


async def test_devices_are_listed_up_to_top(service: Service) -> None:
    for number in range(3):
        service.house.register(f"dev{number}")
    assert [each["deviceId"] for each in read(await service.ask("GET", "/devices?top=2"))] == ["dev0", "dev1"]
    assert len(read(await service.ask("GET", "/devices"))) == 3
    for top in ("0", "1001", "x", "²"):
        assert refused(await service.ask("GET", f"/devices?top={quote(top)}")) == (400, "ArgumentInvalid")


async def test_modules_live_on_their_device(service: Service) -> None:
    service.house.register("dev1")
    created = await service.ask("PUT", "/devices/dev1/modules/mod1", {"managedBy": "me"})
    assert (created.status, read(created)["managedBy"]) == (200, "me")
    again = await service.ask("PUT", "/devices/dev1/modules/mod1", {})
    assert (again.status, read(again)["errorCode"]) == (409, 409301)
    updated = read(await service.ask("PUT", "/devices/dev1/modules/mod1", {}, if_match="*"))
    assert updated["managedBy"] is None
    assert [each["moduleId"] for each in read(await service.ask("GET", "/devices/dev1/modules"))] == ["mod1"]
    assert read(await service.ask("GET", "/devices/dev1/modules/mod1"))["etag"] == updated["etag"]
    assert read(await service.ask("GET", "/twins/dev1/modules/mod1"))["moduleId"] == "mod1"
    stale = await service.ask("DELETE", "/devices/dev1/modules/mod1", if_match="stale")
    assert refused(stale) == (412, "PreconditionFailed")
    assert (await service.ask("DELETE", "/devices/dev1/modules/mod1", if_match="*")).status == 204
    assert refused(await service.ask("GET", "/devices/dev1/modules/mod1")) == (404, "ModuleNotFound")
    assert refused(await service.ask("GET", "/twins/dev1/modules/mod1")) == (404, "ModuleNotFound")
    assert refused(await service.ask("PUT", "/devices/dev1/modules/$edgeHub", {})) == (400, "ArgumentInvalid")
    assert refused(await service.ask("PUT", "/devices/dev1/modules/m", {"moduleId": "n"})) == (400, "ArgumentInvalid")


@pytest.mark.parametrize("disabled", [True, False])
async def test_modules_of_a_missing_or_disabled_device_are_401(service: Service, disabled: bool) -> None:
    if disabled:
        await service.ask("PUT", "/devices/dev1", {"status": "disabled"})
    for method, path in (("GET", ""), ("GET", "/mod1"), ("PUT", "/mod1"), ("DELETE", "/mod1")):
        reply = await service.ask(method, f"/devices/dev1/modules{path}", {}, if_match="*")
        assert refused(reply) == (401, "IotHubUnauthorizedAccess")


async def test_bulk_does_what_it_can_and_tells_the_rest(service: Service) -> None:
    service.house.register("old")
    service.house.register("gone")
    documents = [
        {"id": "new", "importMode": "create", "tags": {"site": "a"}, "properties": {"desired": {"b": 1}}},
        {"id": "old", "importMode": "create"},
        {"id": "old", "importMode": "updateIfMatchETag", "eTag": "stale"},
        {"id": "old", "importMode": "update", "status": "disabled"},
        {"deviceId": "fresh"},
        {"id": "gone", "importMode": "delete"},
        {"id": "gone", "importMode": "deleteIfMatchETag"},
        {"id": "bad", "importMode": "create", "tags": {"a.b": 1}},
        {"id": "bad", "moduleId": "m"},
        {"id": "bad", "importMode": "updateTwin"},
        "x",
    ]
    reply = await service.ask("POST", "/devices", documents)
    result = read(reply)
    assert (reply.status, result["isSuccessful"]) == (400, False)
    assert [(each["deviceId"], each["errorCode"]) for each in result["errors"]] == [
        ("old", 409001),
        ("old", 412001),
        ("gone", 412001),
        ("bad", 400004),
        ("bad", 400004),
        ("bad", 400004),
        (None, 400004),
    ]
    assert [device.device_id for device in service.hub.registry.list()] == ["fresh", "new", "old"]
    twin = service.hub.twins.get("new")
    assert (twin.tags, twin.desired.values) == ({"site": "a"}, {"b": 1})
    assert not service.hub.registry.get("old").enabled
    assert (await service.ask("POST", "/devices", [{"id": "good"}])).status == 200


@pytest.mark.parametrize(
    ("document", "name"), [([], "ArgumentInvalid"), ([{"id": "a"}] * 101, "ArgumentInvalid"), ({}, "IotHubFormatError")]
)
async def test_bulk_has_its_bounds(service: Service, document: Any, name: str) -> None:
    assert refused(await service.ask("POST", "/devices", document)) == (400, name)


async def test_twin_is_read_merged_replaced_and_told(service: Service) -> None:
    device = service.house.connect("dev1", peer_chain=service.house.onboard("dev1"))
    device.subscribe("$iothub/twin/PATCH/properties/desired/#")
    first = read(await service.ask("GET", "/twins/dev1"))
    assert (first["connectionState"], first["authenticationType"]) == ("Connected", "certificateAuthority")
    assert not {"generationId", "deviceScope", "modelId", "statusReason"} & set(first)
    desired = {"tags": {"a": 1}, "properties": {"desired": {"b": 1}, "reported": {"ignored": 1}}}
    patched = await service.ask("PATCH", "/twins/dev1", desired, if_match=f'"{first["etag"]}"')
    assert (read(patched)["tags"], read(patched)["properties"]["desired"]["b"]) == ({"a": 1}, 1)
    assert patched.headers["ETag"] == f'"{read(patched)["etag"]}"'
    (told,) = service.performed
    assert isinstance(told, Publish)
    assert json.loads(told.payload) == {"b": 1, "$version": 2}
    stale = await service.ask("PATCH", "/twins/dev1", desired, if_match=first["etag"])
    assert refused(stale) == (412, "PreconditionFailed")
    replaced = read(await service.ask("PUT", "/twins/dev1", {"properties": {"desired": {"c": 1}}}, if_match="*"))
    assert replaced["tags"] == {}
    assert "b" not in replaced["properties"]["desired"]
    assert refused(await service.ask("GET", "/twins/dev2")) == (404, "DeviceNotFound")


async def test_method_waits_for_the_answer_of_the_device(service: Service) -> None:
    device = service.house.connect("dev1", peer_chain=service.house.onboard("dev1"))
    device.subscribe("$iothub/methods/POST/#")
    asked = asyncio.create_task(service.ask("POST", "/twins/dev1/methods", {"methodName": "m", "payload": [1]}))
    await service.has_performed.wait()
    (call,) = service.performed
    assert isinstance(call, Publish)
    request_id = call.topic.partition("?$rid=")[2]
    device.publish(f"$iothub/methods/res/404/?$rid={request_id}", b'{"a":1}')
    reply = await asked
    assert (reply.status, read(reply)) == (200, {"status": 404, "payload": {"a": 1}})


async def test_method_of_an_absent_device_has_a_nested_error(service: Service) -> None:
    service.house.register("dev1")
    reply = await service.ask("POST", "/twins/dev1/methods", {"methodName": "m"})
    assert refused(reply) == (404, "DeviceNotOnline")
    nested = json.loads(read(reply)["Message"])
    assert (nested["errorCode"], nested["info"]) == (404103, {"timeout": "00:00:00"})


async def test_method_that_is_not_answered_is_504(service: Service) -> None:
    device = service.house.connect("dev1", peer_chain=service.house.onboard("dev1"))
    device.subscribe("$iothub/methods/POST/#")
    asked = asyncio.create_task(service.ask("POST", "/twins/dev1/methods", {"methodName": "m"}))
    await service.has_performed.wait()
    service.hub.gateway.tick(datetime(2026, 11, 23, 12, 1, tzinfo=UTC))
    reply = await asked
    assert refused(reply) == (504, "GatewayTimeout")
    assert json.loads(read(reply)["Message"])["errorCode"] == 504101


async def test_statistics_count_every_page(service: Service) -> None:
    for number in range(MANY):
        service.house.register(f"dev{number}")
    await service.ask("PUT", "/devices/dev7", {"status": "disabled"}, if_match="*")
    counts = {"totalDeviceCount": MANY, "enabledDeviceCount": MANY - 1, "disabledDeviceCount": 1}
    assert read(await service.ask("GET", "/statistics/devices")) == counts
    assert read(await service.ask("GET", "/statistics/service")) == {"connectedDeviceCount": 0}


async def test_query_pages_through_all_twins(service: Service) -> None:
    for number in range(450):
        service.house.register(f"dev{number:03}")
    found: list[str] = []
    headers = {"x_ms_max_item_count": "200"}
    sizes = []
    while True:
        reply = await service.ask("POST", "/devices/query", {"query": "SELECT * FROM devices"}, **headers)
        assert reply.headers["x-ms-item-type"] == "Twin"
        sizes.append(len(read(reply)))
        found += [each["deviceId"] for each in read(reply)]
        if "x-ms-continuation" not in reply.headers:
            break
        headers["x_ms_continuation"] = reply.headers["x-ms-continuation"]
    assert sizes == [200, 200, 50]
    assert found == [f"dev{number:03}" for number in range(450)]


async def test_query_finds_what_it_asks_for(service: Service) -> None:
    for number in range(3):
        service.house.register(f"dev{number}")
        await service.ask("PATCH", f"/twins/dev{number}", {"tags": {"n": number}})
        service.hub.registry.create_module(f"dev{number}", "mod", None, NOW)

    async def ask(text: str) -> list[str]:
        found = read(await service.ask("POST", "/devices/query", {"query": text}))
        return ["/".join([each["deviceId"], *([each["moduleId"]] if "moduleId" in each else [])]) for each in found]

    assert await ask("SELECT * FROM devices WHERE deviceId = 'dev1'") == ["dev1"]
    assert await ask("SELECT * FROM devices WHERE deviceId = 'dev9'") == []
    assert await ask("select * from devices where tags.n >= 1 and not tags.n = 2") == ["dev1"]
    assert await ask("SELECT * FROM devices.modules WHERE deviceId != 'dev1'") == ["dev0/mod", "dev2/mod"]


@pytest.mark.parametrize(
    ("document", "headers"),
    [
        ({}, {}),
        ({"query": "SELECT x FROM devices"}, {}),
        ({"query": "SELECT * FROM devices"}, {"x_ms_max_item_count": "0"}),
        ({"query": "SELECT * FROM devices"}, {"x_ms_continuation": "!"}),
    ],
)
async def test_bad_query_is_refused(service: Service, document: Any, headers: dict[str, str]) -> None:
    assert refused(await service.ask("POST", "/devices/query", document, **headers)) == (400, "ArgumentInvalid")


async def test_messages_are_sent_purged_and_told_of(service: Service) -> None:
    service.house.register("dev1")
    sent = {"body": {"a": 1}, "messageId": "m1", "ack": "full", "expiryTimeUtc": "2026-11-23T12:30:00"}
    reply = await service.rest.answer_local(
        "hub1", Received("POST", "/devices/dev1/messages", {}, json.dumps(sent).encode())
    )
    assert (reply.status, read(reply)["expiryTimeUtc"]) == (201, "2026-11-23T12:30:00.0000000Z")
    assert read(await service.ask("GET", "/devices/dev1"))["cloudToDeviceMessageCount"] == 1
    purged = read(await service.ask("DELETE", "/devices/dev1/commands"))
    assert purged == {"deviceId": "dev1", "totalMessagesPurged": 1, "moduleId": None}
    assert refused(await service.ask("DELETE", "/devices/dev2/commands")) == (404, "DeviceNotFound")
    assert (await service.ask("GET", "/messages/serviceBound/feedback")).status == 204
    service.hub.gateway.tick(datetime(2026, 11, 23, 12, 1, tzinfo=UTC))
    lent = await service.ask("GET", "/messages/servicebound/feedback")
    assert [each["statusCode"] for each in read(lent)] == ["Purged"]
    lock = quote(lent.headers["ETag"], safe="")
    assert (await service.ask("POST", f"/messages/serviceBound/feedback/{lock}/abandon")).status == 204
    lent = await service.ask("GET", "/messages/serviceBound/feedback")
    lock = lent.headers["ETag"].strip('"')
    assert (await service.ask("DELETE", f"/messages/serviceBound/feedback/{lock}")).status == 204
    again = await service.ask("DELETE", f"/messages/serviceBound/feedback/{lock}")
    assert refused(again) == (412, "DeviceMessageLockLost")


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ({"authorization": ""}, (401, "GenericUnauthorized")),
        ({"authorization": "Bearer x"}, (401, "GenericUnauthorized")),
        ({"authorization": "SharedAccessSignature sr=x"}, (401, "GenericUnauthorized")),
        ({"host": "hub9.example"}, (401, "IotHubNotFound")),
        ({"host": ""}, (401, "IotHubNotFound")),
    ],
)
async def test_request_must_name_hub_and_token(service: Service, headers: dict[str, str], outcome: Any) -> None:
    assert refused(await service.ask("GET", "/devices", **headers)) == outcome


@pytest.mark.parametrize(
    ("token", "outcome"),
    [
        ({"policy": "iothubowner"}, 200),
        ({"policy": "registryRead"}, 200),
        ({"policy": "registryRead", "resource": "localhost:18443"}, 200),
        ({"policy": "registryRead", "resource": "https://hub1.example"}, 200),
        ({"policy": "registryRead", "resource": "hub1.example/devices"}, 200),
        ({"policy": "registryRead", "resource": "hub1.example/twins"}, (401, "IotHubUnauthorized")),
        ({"policy": "service"}, (401, "IotHubUnauthorizedAccess")),
        ({"policy": "device"}, (401, "IotHubUnauthorizedAccess")),
        ({"expires_at": int(NOW.timestamp())}, (401, "IotHubUnauthorized")),
    ],
)
async def test_token_needs_right_and_resource(service: Service, token: dict[str, Any], outcome: Any) -> None:
    reply = await service.ask("GET", "/devices", authorization=service.token(**token))
    assert outcome in (reply.status, None if reply.status == 200 else refused(reply))


@pytest.mark.parametrize("name", [None, "nobody", "registryRead"])
async def test_token_must_be_signed_with_a_key_of_its_policy(service: Service, name: str | None) -> None:
    token = format_sas_token("hub1.example", "c2VjcmV0LWtleS1zZWNyZXQta2V5", 1900000000, name)
    reply = await service.ask("GET", "/devices", authorization=token)
    assert refused(reply) == (401, "IotHubUnauthorized")
    assert "c2VjcmV0" not in reply.body.decode()


async def test_secondary_key_is_as_good(service: Service) -> None:
    key = service.hub.policies.get("registryRead").secondary_key
    token = format_sas_token("hub1.example", key, 1900000000, "registryRead")
    assert (await service.ask("GET", "/devices", authorization=token)).status == 200


async def test_local_authentication_may_be_switched_off(make_house: Any) -> None:
    service = Service(make_house(disable_local_auth=True))
    assert refused(await service.ask("GET", "/devices")) == (401, "IotHubUnauthorized")


async def test_twins_need_service_connect(service: Service) -> None:
    service.house.register("dev1")
    reply = await service.ask("GET", "/twins/dev1", authorization=service.token("registryReadWrite"))
    assert refused(reply) == (401, "IotHubUnauthorizedAccess")


async def test_method_that_a_path_has_not_is_405(service: Service) -> None:
    assert refused(await service.ask("PATCH", "/devices/dev1")) == (405, "GenericMethodNotAllowed")


@pytest.mark.parametrize("path", ["/", "/enrollments/x", "/devices//modules", "/devices/a/b", "/devices/%ff", "/twins"])
async def test_paths_of_others_are_left_to_them(service: Service, path: str) -> None:
    assert await service.rest.answer(Received("GET", path, {})) is None


async def test_sending_messages_is_for_the_control_api_only(service: Service) -> None:
    assert await service.rest.answer(Received("POST", "/devices/dev1/messages", {})) is None


@pytest.mark.parametrize(
    ("hub", "path", "outcome"),
    [
        ("hub1", "/devices", 200),
        ("hub9", "/devices", (401, "IotHubNotFound")),
        ("hub1", "/nothing", (404, "GenericNotFound")),
        ("hub1", "/devices/%ff", (400, "ArgumentInvalid")),
    ],
)
async def test_control_api_asks_for_no_token(service: Service, hub: str, path: str, outcome: Any) -> None:
    reply = await service.rest.answer_local(hub, Received("GET", path))
    assert outcome in (reply.status, None if reply.status == 200 else refused(reply))


async def test_request_whose_commit_fails_is_not_acknowledged(service: Service) -> None:
    service.commit_fails = True
    reply = await service.ask("PUT", "/devices/dev1", {})
    assert refused(reply) == (500, "ServerError")


def test_every_route_is_found_by_its_own_path_alone() -> None:
    for route in ROUTES:
        segments = ["x" if segment.startswith("{") else segment.upper() for segment in route.template]
        found = [match.route for match in find_routes(ROUTES, segments) if match.route.method == route.method]
        assert found == [route]


async def test_request_above_the_quota_is_refused_before_anything_is_done(service: Service) -> None:
    """Only what the hub's limits name is counted, with the device it is about."""
    counted: list[tuple[str, str, str]] = []

    def throttle(hub: str, operation: ServiceOperation, device_id: str, now: datetime) -> float:
        assert now == NOW
        counted.append((hub, operation.value, device_id))
        return 2.5

    service.rest = HubRest([service.hub], service, lambda: NOW, throttle)
    reply = await service.ask("PUT", "/devices/throttled", {"deviceId": "throttled"})
    assert (reply.status, reply.headers["iothub-errorcode"]) == (429, "ThrottlingException")
    assert "in 2.5 s" in json.loads(reply.body)["Message"]
    assert service.hub.registry.get("throttled") is None
    assert (await service.ask("GET", "/statistics/devices")).status == 200
    await service.ask("POST", "/devices/query", {"query": "SELECT * FROM devices"})
    await service.ask("PATCH", "/twins/dev1", {})
    assert counted == [("hub1", "registry", "throttled"), ("hub1", "query", ""), ("hub1", "twin-update", "dev1")]
