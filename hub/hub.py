"""One IoT Hub, assembled from its parts."""

from adr.registry import AdrRegistry
from adr.store import Store
from hub.access import Access
from hub.certificates import HubCertificates
from hub.credentials import Credentials
from hub.event_log import EventLog
from hub.gateway import HubGateway
from hub.policies import SharedAccessPolicies
from hub.registry import DeviceRegistry
from hub.session import Sessions
from hub.settings import HubSettings
from hub.telemetry import Telemetry

__all__ = ["Hub", "HubSettings"]


class Hub:
    """One IoT Hub: its registry, its event log, and the gateway its devices talk to."""

    def __init__(self, settings: HubSettings, store: Store, adr: AdrRegistry) -> None:
        name = settings.name
        self.settings = settings
        self.registry = DeviceRegistry(store, name)
        self.certificates = HubCertificates(store, name)
        self.policies = SharedAccessPolicies(store, name)
        self.event_log = EventLog(store, name, settings.partition_count)
        sessions = Sessions(store, name)
        self.gateway = HubGateway(
            settings,
            access=Access(settings, self.registry, self.certificates, self.policies, adr),
            sessions=sessions,
            event_log=self.event_log,
            telemetry=Telemetry(self.event_log, settings.max_message_bytes),
            credentials=Credentials(settings, store, adr, sessions),
        )
