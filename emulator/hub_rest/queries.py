"""`POST /devices/query`: a page of twins at a time."""

import asyncio
import base64
import binascii
from collections.abc import Iterable, Iterator
from typing import Any

from emulator.hub_rest.exchange import HubRequest, Reply, json_reply
from hub.errors import ArgumentInvalid
from hub.query import Query, parse_query

DEFAULT_PAGE, MAX_PAGE = 100, 1000
# So many twins are looked at before others get their turn.
CHUNK = 50


async def query(request: HubRequest) -> Reply:
    """Answer a query with a page of twins; `x-ms-continuation` is there when there may be more."""
    text = request.document().get("query")
    if not isinstance(text, str):
        raise ArgumentInvalid("query must be a text")
    wanted, size = parse_query(text), _page_size(request.headers.get("x-ms-max-item-count"))
    after = _parse_continuation(request.headers.get("x-ms-continuation"))
    found: list[dict[str, Any]] = []
    while len(found) < size:
        chunk = list(_chunk(request, wanted, after))
        for key, view in chunk:
            after = key
            if wanted.matches(view):
                found.append(view)
            if len(found) == size:
                break
        if len(chunk) < CHUNK:
            break
        await asyncio.sleep(0)
    reply = json_reply(found)
    headers = {**reply.headers, "x-ms-item-type": "Twin"}
    if len(found) == size and _has_more(request, wanted, after):
        headers["x-ms-continuation"] = base64.b64encode(after.encode()).decode()
    return Reply(200, reply.body, headers)


def _chunk(request: HubRequest, wanted: Query, after: str) -> Iterator[tuple[str, dict[str, Any]]]:
    hub = request.hub
    if wanted.source == "devices.modules":
        for module in hub.registry.list_all_modules(after, CHUNK):
            device = hub.registry.get(module.device_id)
            if device is not None:
                yield f"{module.device_id}/{module.module_id}", hub.view.twin(device, module)
        return
    if wanted.device_id is not None:
        only = hub.registry.get(wanted.device_id) if after < wanted.device_id else None
        devices: Iterable[Any] = [only] if only is not None else []
    else:
        devices = hub.registry.list(after, CHUNK)
    for device in devices:
        yield device.device_id, hub.view.twin(device)


def _has_more(request: HubRequest, wanted: Query, after: str) -> bool:
    return next(_chunk(request, wanted, after), None) is not None


def _page_size(header: str | None) -> int:
    if header is None:
        return DEFAULT_PAGE
    if not (header.isascii() and header.isdigit() and int(header[:6]) >= 1):
        raise ArgumentInvalid(f"x-ms-max-item-count is {header[:20]!r}, it must be 1 or more")
    return min(int(header[:6]), MAX_PAGE)


def _parse_continuation(header: str | None) -> str:
    try:
        return base64.b64decode(header or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ArgumentInvalid("x-ms-continuation is not one that a query answered with") from error
