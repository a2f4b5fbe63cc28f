"""One IoT Hub, assembled from its parts."""

from adr.links import LinkedKind
from adr.registry import AdrRegistry
from adr.store import Store
from hub.access import Access
from hub.c2d import CloudToDevice
from hub.certificates import HubCertificates
from hub.connections import Connections
from hub.credentials import Credentials
from hub.event_log import EventLog
from hub.feedback import Feedback
from hub.gateway import HubGateway
from hub.identity_requests import IdentityRequests
from hub.methods import Methods
from hub.policies import SharedAccessPolicies
from hub.registry import DeviceRegistry
from hub.service_access import ServiceAccess
from hub.service_view import ServiceView
from hub.session import Sessions
from hub.settings import HubSettings
from hub.telemetry import Telemetry
from hub.twin_requests import TwinRequests
from hub.twins import Twins

__all__ = ["Hub", "HubSettings"]


class Hub:
    """One IoT Hub: what services ask of it, and the gateway its devices talk to."""

    def __init__(self, settings: HubSettings, store: Store, adr: AdrRegistry) -> None:
        name = settings.name
        self.settings = settings
        self.link = adr.links.of(LinkedKind.HUB, name, settings.namespace)
        self.connections = Connections()
        self.registry = DeviceRegistry(store, name, self.connections)
        self.certificates = HubCertificates(store, name)
        self.policies = SharedAccessPolicies(store, name)
        self.event_log = EventLog(store, name, settings.partition_count)
        self.twins = Twins(store, name)
        self.feedback = Feedback(store, name)
        self.sessions = sessions = Sessions(store, name)
        self.twin_requests = TwinRequests(self.twins, sessions, self.connections)
        self.methods = Methods(sessions, self.connections)
        self.c2d = CloudToDevice(
            settings,
            store,
            registry=self.registry,
            sessions=sessions,
            connections=self.connections,
            feedback=self.feedback,
        )
        self.identity_requests = IdentityRequests(self.registry, self.twins)
        self.service_access = ServiceAccess(settings, self.policies)
        self.view = ServiceView(name, self.connections, self.twins, self.c2d)
        self.credentials = Credentials(settings, store, adr, sessions)
        self.gateway = HubGateway(
            settings,
            access=Access(settings, self.registry, self.certificates, self.policies, adr),
            sessions=sessions,
            event_log=self.event_log,
            telemetry=Telemetry(self.event_log, settings.max_message_bytes),
            credentials=self.credentials,
            connections=self.connections,
            twins=self.twins,
            twin_requests=self.twin_requests,
            methods=self.methods,
            c2d=self.c2d,
            feedback=self.feedback,
        )
