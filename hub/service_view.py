"""Identities and twins as services see them, with what is true at this moment beside what is stored."""

from typing import Any

from hub.c2d import CloudToDevice
from hub.connections import Connections
from hub.identity import NEVER, DeviceIdentity, ModuleIdentity
from hub.identity_json import format_authentication, format_identity, format_time
from hub.twin import Twin
from hub.twin_json import format_service_view
from hub.twins import Twins


class ServiceView:
    """Writes the JSON of the service REST API for one hub."""

    def __init__(self, hub_name: str, connections: Connections, twins: Twins, c2d: CloudToDevice) -> None:
        self._hub_name = hub_name
        self._connections = connections
        self._twins = twins
        self._c2d = c2d

    def identity(self, device: DeviceIdentity) -> dict[str, Any]:
        """Write a device, keys included."""
        state = self._state(device.device_id)
        return {
            **format_identity(device),
            **state,
            "connectionStateUpdatedTime": state["lastActivityTime"],
            "cloudToDeviceMessageCount": self._c2d.count(device.device_id),
        }

    def module(self, module: ModuleIdentity) -> dict[str, Any]:
        """Write a module, keys included: it has no status and no capabilities.

        Source: live probes (observed).
        """
        state = self._state(f"{module.device_id}/{module.module_id}")
        return {
            "deviceId": module.device_id,
            "moduleId": module.module_id,
            "managedBy": module.managed_by,
            "generationId": module.generation_id,
            "etag": module.etag,
            **state,
            "connectionStateUpdatedTime": state["lastActivityTime"],
            "cloudToDeviceMessageCount": 0,
            "authentication": format_authentication(module.authentication),
        }

    def twin(
        self, device: DeviceIdentity, module: ModuleIdentity | None = None, twin: Twin | None = None
    ) -> dict[str, Any]:
        """Write the twin of a device or of one of its modules; `twin` saves reading it again.

        Source: live probes of /twins/{id} (observed): thumbprints have capital names here.
        """
        owner = device if module is None else module
        client_id = device.device_id if module is None else f"{device.device_id}/{module.module_id}"
        authentication = owner.authentication
        view = {
            "deviceId": device.device_id,
            **({} if module is None else {"moduleId": module.module_id}),
            "deviceEtag": owner.etag,
            "status": device.status.value,
            **({"statusReason": device.status_reason} if device.status_reason is not None else {}),
            "statusUpdateTime": format_time(device.status_updated),
            **self._state(client_id),
            "cloudToDeviceMessageCount": self._c2d.count(device.device_id) if module is None else 0,
            "authenticationType": authentication.type.value,
            "x509Thumbprint": {
                "PrimaryThumbprint": authentication.primary_thumbprint,
                "SecondaryThumbprint": authentication.secondary_thumbprint,
            },
            **({"capabilities": {"iotEdge": False}} if module is None else {}),
        }
        return {**view, **format_service_view(twin or self._twins.get(client_id))}

    def _state(self, client_id: str) -> dict[str, Any]:
        presence = self._connections.presence(f"{self._hub_name}/{client_id}")
        return {
            "connectionState": "Connected" if presence is not None and presence.is_connected else "Disconnected",
            # The last connect or disconnect: what a device does in between is not written down (assumed).
            "lastActivityTime": format_time(NEVER if presence is None else presence.since),
        }
