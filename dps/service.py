"""One Device Provisioning Service, assembled from its parts."""

from collections.abc import Mapping

from adr.links import LinkedKind
from adr.registry import AdrRegistry
from adr.store import Store
from dps.assignment import Assigner
from dps.device_api import DeviceApi
from dps.enrollment_rules import EnrollmentRules
from dps.enrollments import Enrollments
from dps.gateway import DpsGateway
from dps.operations import Operations
from dps.registrations import Registrations
from dps.settings import DpsSettings
from hub.hub import Hub

__all__ = ["DpsSettings", "ProvisioningService"]


class ProvisioningService:
    """One DPS: its enrollments, its registrations, and the gateway devices talk to.

    `hubs` are the linked hubs by host name; the mapping is read at each registration.
    """

    def __init__(self, settings: DpsSettings, store: Store, adr: AdrRegistry, hubs: Mapping[str, Hub]) -> None:
        self.settings = settings
        self.link = adr.links.of(LinkedKind.PROVISIONING_SERVICE, settings.name, settings.namespace)
        self.enrollments = Enrollments(store, settings.id_scope, EnrollmentRules(adr, self.link).check)
        self.registrations = Registrations(store, settings.id_scope)
        operations, assigner = Operations(store, settings.id_scope), Assigner(settings, adr, hubs)
        self.device_api = DeviceApi(
            settings, self.enrollments, self.registrations, operations, assigner, audit=adr.audit
        )
        self.gateway = DpsGateway(self.device_api)
