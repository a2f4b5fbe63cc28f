"""The paths of the service REST API, the handler of each, and the right it needs.

Rules for editing: one row per method and path; `{name}` stands for one segment, other segments match in any letter
case. `LOCAL_ROUTES` are hublet's own and are served on the control API only.
Source of the paths: azure-iot-hub protocol/operations (sdk); of the rights: authenticate-authorize-sas.md (documented),
but ServiceConnect for queries and purging is assumed.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from emulator.faults.quota import ServiceOperation
from emulator.hub_rest import identities, messages, queries, twins
from emulator.hub_rest.exchange import HubRequest, Reply
from hub.errors import ArgumentInvalid
from hub.policies import AccessRights

Handler = Callable[[HubRequest], Awaitable[Reply]]
READ, WRITE, SERVICE = AccessRights.REGISTRY_READ, AccessRights.REGISTRY_WRITE, AccessRights.SERVICE_CONNECT
_M = ServiceOperation


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path; `metered` is what counts against the hub's quota, None what does not."""

    method: str
    template: tuple[str, ...]
    handler: Handler
    right: AccessRights
    metered: ServiceOperation | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """A route that was found, and what stands in the place of its parameters."""

    route: Route
    parameters: dict[str, str]


def _route(
    method: str, template: str, handler: Handler, right: AccessRights, metered: ServiceOperation | None = None
) -> Route:
    return Route(method, tuple(template.split("/")), handler, right, metered)


ROUTES: Final = (
    _route("GET", "devices", identities.list_devices, READ, _M.REGISTRY),
    _route("POST", "devices", identities.put_many_devices, WRITE, _M.REGISTRY),
    _route("POST", "devices/query", queries.query, SERVICE, _M.QUERY),
    _route("GET", "devices/{device}", identities.get_device, READ, _M.REGISTRY),
    _route("PUT", "devices/{device}", identities.put_device, WRITE, _M.REGISTRY),
    _route("DELETE", "devices/{device}", identities.delete_device, WRITE, _M.REGISTRY),
    _route("GET", "devices/{device}/modules", identities.list_modules, READ, _M.REGISTRY),
    _route("GET", "devices/{device}/modules/{module}", identities.get_module, READ, _M.REGISTRY),
    _route("PUT", "devices/{device}/modules/{module}", identities.put_module, WRITE, _M.REGISTRY),
    _route("DELETE", "devices/{device}/modules/{module}", identities.delete_module, WRITE, _M.REGISTRY),
    _route("DELETE", "devices/{device}/commands", messages.purge, SERVICE),
    _route("GET", "twins/{device}", twins.get_twin, SERVICE, _M.TWIN_READ),
    _route("PATCH", "twins/{device}", twins.patch_twin, SERVICE, _M.TWIN_UPDATE),
    _route("PUT", "twins/{device}", twins.put_twin, SERVICE, _M.TWIN_UPDATE),
    _route("POST", "twins/{device}/methods", twins.invoke_method, SERVICE, _M.METHOD),
    _route("GET", "twins/{device}/modules/{module}", twins.get_twin, SERVICE, _M.TWIN_READ),
    _route("PATCH", "twins/{device}/modules/{module}", twins.patch_twin, SERVICE, _M.TWIN_UPDATE),
    _route("PUT", "twins/{device}/modules/{module}", twins.put_twin, SERVICE, _M.TWIN_UPDATE),
    _route("POST", "twins/{device}/modules/{module}/methods", twins.invoke_method, SERVICE, _M.METHOD),
    _route("GET", "statistics/devices", identities.device_statistics, READ),
    _route("GET", "statistics/service", identities.service_statistics, SERVICE),
    _route("GET", "messages/serviceBound/feedback", messages.receive_feedback, SERVICE),
    _route("DELETE", "messages/serviceBound/feedback/{lock}", messages.complete_feedback, SERVICE),
    _route("POST", "messages/serviceBound/feedback/{lock}/abandon", messages.abandon_feedback, SERVICE),
)
LOCAL_ROUTES: Final = (_route("POST", "devices/{device}/messages", messages.send, SERVICE, _M.CLOUD_TO_DEVICE),)


def split_path(path: str) -> tuple[str, ...]:
    """Take a path apart at its slashes and decode each segment, once.

    Raises:
        ArgumentInvalid: a segment is not percent-encoded UTF-8.
    """
    try:
        return tuple(unquote_to_bytes(segment).decode() for segment in path.strip("/").split("/"))
    except UnicodeDecodeError as error:
        raise ArgumentInvalid("the path is not percent-encoded UTF-8") from error


def find_routes(routes: Sequence[Route], segments: Sequence[str]) -> list[Match]:
    """Find the routes of a path, one for each method it has."""
    return [
        Match(route, parameters) for route in routes if (parameters := _match(route.template, segments)) is not None
    ]


def _match(template: Sequence[str], segments: Sequence[str]) -> dict[str, str] | None:
    if len(template) != len(segments):
        return None
    parameters: dict[str, str] = {}
    for expected, segment in zip(template, segments, strict=True):
        if expected.startswith("{"):
            if not segment:
                return None
            parameters[expected[1:-1]] = segment
        elif expected.lower() != segment.lower():
            return None
    return parameters
