"""`/devices…` and `/statistics…`: identities over REST."""

import asyncio

from emulator.hub_rest.exchange import HubRequest, Reply, json_reply
from hub.errors import ArgumentInvalid, IotHubFormatError
from hub.identity_document import parse_identity_document

MAX_TOP = 1000


async def list_devices(request: HubRequest) -> Reply:
    """Answer `GET /devices?top=N` with at most 1,000 devices."""
    top = request.query.get("top", str(MAX_TOP))
    if not (top.isascii() and top.isdigit() and 1 <= int(top[:6]) <= MAX_TOP):
        raise ArgumentInvalid(f"top is {top[:20]!r}, it must be 1–{MAX_TOP}")
    return json_reply([request.hub.view.identity(device) for device in request.hub.registry.list(limit=int(top))])


async def put_many_devices(request: HubRequest) -> Reply:
    """Do a bulk request: 200 when all went well, else 400, with the same body."""
    documents = request.json()
    if not isinstance(documents, list):
        raise IotHubFormatError("a bulk request is a JSON array")
    errors = request.hub.identity_requests.put_many(documents, request.now)
    result = {"isSuccessful": not errors, "errors": errors, "warnings": []}
    return json_reply(result, status=400 if errors else 200)


async def get_device(request: HubRequest) -> Reply:
    """Answer with one device."""
    device = request.hub.identity_requests.get(request.device_id)
    return json_reply(request.hub.view.identity(device), etag=device.etag)


async def put_device(request: HubRequest) -> Reply:
    """Create or replace a device: always 200, never 201."""
    document = parse_identity_document(request.document())
    device = request.hub.identity_requests.put(request.device_id, document, request.if_match, request.now)
    return json_reply(request.hub.view.identity(device), etag=device.etag)


async def delete_device(request: HubRequest) -> Reply:
    """Delete a device."""
    request.hub.identity_requests.delete(request.device_id, request.if_match)
    return Reply(204)


async def list_modules(request: HubRequest) -> Reply:
    """Answer with the modules of a device."""
    modules = request.hub.identity_requests.get_modules(request.device_id)
    return json_reply([request.hub.view.module(module) for module in modules])


async def get_module(request: HubRequest) -> Reply:
    """Answer with one module."""
    module = request.hub.identity_requests.get_module(request.device_id, request.parameters["module"])
    return json_reply(request.hub.view.module(module), etag=module.etag)


async def put_module(request: HubRequest) -> Reply:
    """Create or replace a module."""
    document = parse_identity_document(request.document())
    module = request.hub.identity_requests.put_module(
        request.device_id, request.parameters["module"], document, request.if_match, request.now
    )
    return json_reply(request.hub.view.module(module), etag=module.etag)


async def delete_module(request: HubRequest) -> Reply:
    """Delete a module."""
    request.hub.identity_requests.delete_module(request.device_id, request.parameters["module"], request.if_match)
    return Reply(204)


async def device_statistics(request: HubRequest) -> Reply:
    """Count the devices, a page at a time so that a large hub does not stop the others."""
    total, enabled, after = 0, 0, ""
    while page := request.hub.registry.list(after, MAX_TOP):
        total += len(page)
        enabled += sum(device.enabled for device in page)
        after = page[-1].device_id
        await asyncio.sleep(0)
    counts = {"totalDeviceCount": total, "enabledDeviceCount": enabled, "disabledDeviceCount": total - enabled}
    return json_reply(counts)


async def service_statistics(request: HubRequest) -> Reply:
    """Count what is connected."""
    return json_reply({"connectedDeviceCount": request.hub.connections.count()})
