"""Namespaces, and the hubs and DPS instances that are linked to them by the endpoints in their properties."""

import re
from dataclasses import dataclass
from typing import Any, Final

from adr.errors import NamespaceNotFound
from adr.links import LinkedKind
from adr.namespace import Namespace
from emulator.adr_rest.body import Body
from emulator.adr_rest.endpoints import Endpoints, described_endpoints
from emulator.adr_rest.envelopes import ACCEPTED, SUCCEEDED, resource_uuid
from emulator.adr_rest.exchange import ArmReply, ArmRequest, page, written

SECTIONS: Final = {"messaging": LinkedKind.HUB, "provisioning": LinkedKind.PROVISIONING_SERVICE}
RESOURCE_NAME: Final = re.compile(r"/([^/]{1,64})/?\Z")


@dataclass(frozen=True, slots=True)
class _Change:
    """What a request does to the endpoints of one section: the whole set, or members of it."""

    section: str
    endpoints: dict[str, dict[str, Any] | None]
    replaces: bool


def get_namespace(request: ArmRequest) -> ArmReply:
    """Show a namespace."""
    return ArmReply(document=_describe(request, request.adr.namespace(request.namespace)))


def list_namespaces(request: ArmRequest) -> ArmReply:
    """List every namespace, whatever the subscription or resource group."""
    return page([_describe(request, each) for each in request.adr.namespaces()])


def put_namespace(request: ArmRequest) -> ArmReply:
    """Make a namespace without a credential, or replace what can be changed of one that is there."""
    path = _path(request.namespace)
    envelope, changes = request.read_envelope(path), _changes(request.body, replaces=True)
    try:
        namespace, is_new = request.adr.namespace(request.namespace), False
    except NamespaceNotFound:
        namespace, is_new = request.adr.create_namespace(request.namespace, request.now, credential=False), True
    request.envelopes.put(path, envelope)
    _apply(request, changes)
    return written(_describe(request, namespace, ACCEPTED), path, created=is_new)


def patch_namespace(request: ArmRequest) -> ArmReply:
    """Change tags and endpoints; an endpoint that is null is unlinked."""
    namespace, path = request.adr.namespace(request.namespace), _path(request.namespace)
    envelope, changes = request.read_envelope(path), _changes(request.body, replaces=False)
    request.envelopes.put(path, envelope)
    _apply(request, changes)
    return ArmReply(document=_describe(request, namespace), operation_on=path)


def delete_namespace(request: ArmRequest) -> ArmReply:
    """Delete an empty namespace; its hubs and DPS instances are linked to none then."""
    try:
        request.adr.delete_namespace(request.namespace)
    except NamespaceNotFound:
        return ArmReply(204)
    for hub in request.service.linked_hubs(request.namespace):
        request.service.link_hub(hub, None)
    for service in request.service.linked_services(request.namespace):
        request.service.link_service(service, None)
    Endpoints(request.store).delete(request.namespace)
    request.envelopes.delete(_path(request.namespace))
    return ArmReply(202, operation_on=_path(request.namespace))


def _path(name: str) -> str:
    return f"namespaces/{name}"


def _describe(request: ArmRequest, namespace: Namespace, state: str = SUCCEEDED) -> dict[str, Any]:
    path = _path(namespace.name)
    properties: dict[str, Any] = {
        "uuid": resource_uuid(path, namespace.created.isoformat()),
        "provisioningState": state,
    }
    for section, kind in SECTIONS.items():
        endpoints = described_endpoints(request.service, Endpoints(request.store), namespace.name, section, kind)
        properties[section] = {"endpoints": endpoints}
    return request.resource(path, properties)


def _changes(body: Body, *, replaces: bool) -> list[_Change]:
    """Read the endpoints of a request; a section that it does not name stays as it is (assumed)."""
    properties = body.object("properties")
    changes: list[_Change] = []
    for section in SECTIONS:
        if section in properties:
            endpoints = properties.object(section).object("endpoints")
            read = {name: _read_endpoint(endpoints, name) for name in endpoints.members}
            changes.append(_Change(section, read, replaces))
    return changes


def _read_endpoint(endpoints: Body, name: str) -> dict[str, Any] | None:
    if name not in endpoints:
        return None
    endpoint = endpoints.object(name)
    kind, resource = endpoint.text("endpointType"), endpoint.text("resourceId")
    endpoint.text("address")
    if kind in (None, *LinkedKind) and resource is not None and not RESOURCE_NAME.search(resource):
        endpoint.refuse("resourceId", "must be the ID of a hub or provisioning service, ending in its name")
    return dict(endpoint.members)


def _apply(request: ArmRequest, changes: list[_Change]) -> None:
    endpoints = Endpoints(request.store)
    for change in changes:
        present = endpoints.told(request.namespace, change.section)
        former = {} if change.replaces else dict(present)
        kept = {name: given for name, given in {**former, **change.endpoints}.items() if given is not None}
        endpoints.tell(request.namespace, change.section, kept)
        _relink(request, SECTIONS[change.section], kept, _unlinked(change, present))


def _unlinked(change: _Change, present: dict[str, dict[str, Any]]) -> set[str] | None:
    """Name the resources that a request takes away; None is all that it does not name."""
    if change.replaces:
        return None
    removed = {name for name, given in change.endpoints.items() if given is None}
    return {resource_name(present[name]) or name if name in present else name for name in removed}


def _relink(request: ArmRequest, kind: LinkedKind, kept: dict[str, dict[str, Any]], unlinked: set[str] | None) -> None:
    service, namespace = request.service, request.namespace
    named = {(resource_name(endpoint) or "").lower() for endpoint in kept.values()}
    if kind is LinkedKind.HUB:
        for hub in service.linked_hubs(namespace):
            if hub.settings.name.lower() not in named and (unlinked is None or hub.settings.name in unlinked):
                service.link_hub(hub, None)
        for name in named:
            found = service.hub(name)
            if found is not None and found.link.namespace is None:
                service.link_hub(found, namespace)
        return
    for linked in service.linked_services(namespace):
        if linked.settings.name.lower() not in named and (unlinked is None or linked.settings.name in unlinked):
            service.link_service(linked, None)
    for name in named:
        dps = service.provisioning_service(name)
        if dps is not None and dps.link.namespace is None:
            service.link_service(dps, namespace)


def resource_name(endpoint: dict[str, Any]) -> str | None:
    """Return the name at the end of an endpoint's resource ID."""
    resource = endpoint.get("resourceId")
    found = RESOURCE_NAME.search(resource) if isinstance(resource, str) else None
    return found[1] if found else None
