"""One IoT Hub, assembled from its parts."""

from adr.registry import AdrRegistry

from adr.store import Store
from hub.certificates import HubCertificates
from hub.policies import SharedAccessPolicies
from hub.registry import DeviceRegistry
from hub.settings import HubSettings

__all__ = ["Hub", "HubSettings"]


class Hub:
    """One IoT Hub: registry, access, event log, and the gateway devices talk to."""

    def __init__(self, settings: HubSettings, store: Store, adr: AdrRegistry) -> None:
        self.settings = settings
        self.registry = DeviceRegistry(store, settings.name)
        self.certificates = HubCertificates(store, settings.name)
        self.policies = SharedAccessPolicies(store, settings.name)
        self._adr = adr
