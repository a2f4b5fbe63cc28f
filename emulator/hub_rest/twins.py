"""`/twins…`: twins and direct methods over REST."""

import asyncio

from emulator.hub_rest.exchange import JSON_TYPE, HubRequest, Reply, json_reply
from hub.errors import HubError, ModuleNotFound
from hub.identity import DeviceIdentity, ModuleIdentity
from hub.method_document import parse_method_document
from hub.methods import MethodResult, format_result
from hub.twin_json import parse_twin_change


async def get_twin(request: HubRequest) -> Reply:
    """Answer with a twin."""
    device, module = _identities(request)
    view = request.hub.view.twin(device, module)
    return json_reply(view, etag=view["etag"])


async def patch_twin(request: HubRequest) -> Reply:
    """Merge tags and desired properties."""
    return _change(request, is_replacement=False)


async def put_twin(request: HubRequest) -> Reply:
    """Replace tags and desired properties."""
    return _change(request, is_replacement=True)


async def invoke_method(request: HubRequest) -> Reply:
    """Call a method and wait for the device's answer, whatever its status: the answer is 200."""
    device, module = _identities(request)
    call = parse_method_document(request.document())
    settled: asyncio.Future[MethodResult | HubError] = asyncio.get_running_loop().create_future()

    def done(outcome: MethodResult | HubError) -> None:
        if not settled.done():
            settled.set_result(outcome)

    request.perform(request.hub.methods.invoke(_client_id(device, module), call, request.now, done))
    outcome = await settled
    if isinstance(outcome, HubError):
        raise outcome
    return Reply(200, format_result(outcome).encode(), {"Content-Type": JSON_TYPE})


def _change(request: HubRequest, *, is_replacement: bool) -> Reply:
    device, module = _identities(request)
    change = parse_twin_change(request.document(), is_replacement=is_replacement)
    etag = None if request.if_match == "*" else request.if_match
    twin, actions = request.hub.twin_requests.change(_client_id(device, module), change, request.now, etag=etag)
    return json_reply(request.hub.view.twin(device, module, twin), etag=twin.etag, actions=actions)


def _identities(request: HubRequest) -> tuple[DeviceIdentity, ModuleIdentity | None]:
    device = request.hub.identity_requests.get(request.device_id)
    module_id = request.parameters.get("module")
    if module_id is None:
        return device, None
    module = request.hub.registry.get_module(device.device_id, module_id)
    if module is None:
        raise ModuleNotFound(f"device {device.device_id} has no module {module_id}")
    return device, module


def _client_id(device: DeviceIdentity, module: ModuleIdentity | None) -> str:
    return device.device_id if module is None else f"{module.device_id}/{module.module_id}"
