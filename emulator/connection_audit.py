"""Writes refused and expired connections of the front door into the audit trail."""

from collections.abc import Mapping
from datetime import datetime

from adr.audit import AuditKind, AuditTrail
from broker.gateway import ConnectRequest, Refusal, Session
from emulator.bootstrap import Resources


class ConnectionAudit:
    """A `broker.observer.ConnectionObserver` for the audit trail.

    Args:
        audit: the trail.
        services: names of hubs and DPS by what a user name or a session key begins with, in lower case.
    """

    def __init__(self, audit: AuditTrail, services: Mapping[str, str]) -> None:
        self._audit = audit
        self._services = services

    def refused(self, request: ConnectRequest, refusal: Refusal, now: datetime) -> None:
        """Note a refused CONNECT; names are as the client gave them."""
        host = request.user_name.partition("/")[0].lower()
        service = self._services.get(host) or self._services.get(host.rpartition(":")[0], "")
        self._audit.record(
            AuditKind.REFUSED,
            now,
            service=service,
            device_id=request.client_id,
            serial_number=request.peer_chain.serial_number,
            reason=refusal.reason,
            source=request.remote,
        )

    def expired(self, session: Session, remote: str, now: datetime) -> None:
        """Note a connection that ends with its credential."""
        reason = f"the credential of its connection expired at {session.expires_at:%Y-%m-%dT%H:%M:%SZ}"
        service = self._services.get(session.key.removeprefix("dps/").partition("/")[0].lower(), "")
        self._audit.record(
            AuditKind.EXPIRED, now, service=service, device_id=session.device_id, reason=reason, source=remote
        )


def service_names(resources: Resources) -> dict[str, str]:
    """Collect the names of hubs and DPS by host name, ID scope and hub name, in lower case."""
    names = {service.settings.id_scope: service.settings.name for service in resources.dps}
    for hub in resources.hubs:
        settings = hub.settings
        names |= dict.fromkeys((settings.name, settings.host_name, *settings.aliases), settings.name)
    return {key.lower(): name for key, name in names.items()}
