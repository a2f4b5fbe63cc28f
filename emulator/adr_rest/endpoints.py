"""The endpoints of a namespace: as they were told, and how the linking of each went."""

import json
from typing import Any, Final

from adr.links import LinkedKind
from adr.store import Store
from emulator.adr_service import AdrService

ENDPOINTS: Final = "arm.endpoints"
READ_ONLY: Final = ("linkingState", "linkingError", "deviceAddress")


class Endpoints:
    """Endpoints by namespace and section (`messaging`, `provisioning`), each with the name it was given."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def told(self, namespace: str, section: str) -> dict[str, dict[str, Any]]:
        """Return the endpoints that somebody named."""
        record = self._store.get(ENDPOINTS, f"{namespace}/{section}")
        return dict(json.loads(record.value)) if record else {}

    def tell(self, namespace: str, section: str, endpoints: dict[str, dict[str, Any]]) -> None:
        """Keep the endpoints."""
        kept = {
            name: {key: value for key, value in endpoint.items() if key not in READ_ONLY}
            for name, endpoint in endpoints.items()
        }
        self._store.put(ENDPOINTS, f"{namespace}/{section}", json.dumps(kept))

    def delete(self, namespace: str) -> None:
        """Forget the endpoints of a namespace."""
        for section in ("messaging", "provisioning"):
            self._store.delete(ENDPOINTS, f"{namespace}/{section}")


def described_endpoints(
    service: AdrService, endpoints: Endpoints, namespace: str, section: str, kind: LinkedKind
) -> dict[str, dict[str, Any]]:
    """Write the endpoints that were told with the state of their links, then those that the configuration links."""
    linked = {name.lower(): host for name, host in _linked(service, namespace, kind).items()}
    described: dict[str, dict[str, Any]] = {}
    for name, endpoint in endpoints.told(namespace, section).items():
        resource = str(endpoint.get("resourceId", "")).rstrip("/").rpartition("/")[2].lower()
        host = linked.pop(resource, None)
        state = {"linkingState": "Succeeded", "deviceAddress": host} if host else _failed(service, resource, kind)
        described[name] = {**endpoint, **state}
    names = {name for name in _linked(service, namespace, kind) if name.lower() in linked}
    for name in names:
        host = linked[name.lower()]
        described[name] = {
            "endpointType": kind.value,
            "address": host,
            "resourceId": f"/subscriptions/local/resourceGroups/local/providers/{kind.value}/{name}",
            "deviceAddress": host,
            "linkingState": "Succeeded",
        }
    return described


def _linked(service: AdrService, namespace: str, kind: LinkedKind) -> dict[str, str]:
    if kind is LinkedKind.HUB:
        return {hub.settings.name: hub.settings.host_name for hub in service.linked_hubs(namespace)}
    return {each.settings.name: each.settings.host_names[0] for each in service.linked_services(namespace)}


def _failed(service: AdrService, name: str, kind: LinkedKind) -> dict[str, str]:
    found = service.hub(name) if kind is LinkedKind.HUB else service.provisioning_service(name)
    if found is None:
        error = f"there is no {kind.value} {name!r} here"
    else:
        error = f"{kind.value} {name!r} is linked to namespace {found.link.namespace!r}: unlink it there first"
    return {"linkingState": "Failed", "linkingError": error}
