"""Renews in time what the emulator itself needs: issuing CAs, the development CA, the server's certificates."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from adr.audit import AuditKind
from adr.authority import IssuingCa
from adr.credential import Credential
from adr.errors import AdrError, IssuerKeyMissing
from adr.rotation import ageing_roots, rotate_issuers
from adr.store import Store
from certs.keyfile import KeyStore
from emulator.bootstrap import Resources, declare_trust, export, server_names
from emulator.clock import system_now
from emulator.config_sections import Config
from emulator.declared_services import declared_services
from emulator.development_ca import ensure_development_ca
from emulator.kept_certificates import KeptCertificates, is_fresh
from emulator.server_certificates import ensure_server_certificates

logger = logging.getLogger("emulator")

# Margins are weeks, so nothing is late when it is looked at once an hour.
INTERVAL: Final = timedelta(hours=1)


class Upkeep:
    """Keeps the emulator's own certificates valid while its time goes on, however fast.

    Args:
        config: what is declared.
        store: the state; committed here.
        keys: the private keys.
        state_dir: where certificates are put for others to read, None for nowhere.
        resources: what is kept up; renewed certificates are put into it.
        machine_now: the machine's time, by which most clients judge the server.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        keys: KeyStore,
        state_dir: Path | None,
        resources: Resources,
        *,
        machine_now: Callable[[], datetime] = system_now,
    ) -> None:
        self._config = config
        self._store = store
        self._kept = KeptCertificates(store, keys)
        self._state_dir = state_dir
        self._resources = resources
        self._machine_now = machine_now
        self._server_names = server_names(config, declared_services(config, store))
        self._looked_at: datetime | None = None
        self._reported: set[str] = set()

    def run(self, now: datetime) -> bool:
        """Renew what is near its end, unless that was looked at within the hour; tell if the server has new leaves.

        Raises:
            OSError: a certificate cannot be put where others read it.
            StoreError: the state cannot be read or written.
        """
        if self._looked_at is not None and abs(now - self._looked_at) < INTERVAL:
            return False
        self._looked_at = now
        try:
            rotate_issuers(self._resources.adr, now)
        except AdrError as error:
            logger.error("issuing CAs cannot be rotated: %s", error)  # noqa: TRY400 - a rule, not a bug
        self._renew_development_ca(now)
        is_renewed = self._renew_server(now)
        self._report_roots(now)
        self._report_keys()
        self._store.commit()
        # Files are read, and written where they differ: what was renewed, or what somebody has removed.
        export(self._resources, self._state_dir)
        return is_renewed

    def warnings(self, now: datetime) -> list[str]:
        """Say what nothing renews by itself: roots near their end, or made after the present of this clock."""
        return [root.describe(now) for root in ageing_roots(self._resources.adr, now)]

    def _renew_development_ca(self, now: datetime) -> None:
        present = self._resources.dev_ca
        if is_fresh(present.root, now) and is_fresh(present.intermediate.certificate, now):
            return
        self._resources.dev_ca = ensure_development_ca(self._kept, now)
        declare_trust(self._config, self._store, self._resources, now)
        self._record(AuditKind.ROTATED, now, "the development CA was renewed")

    def _renew_server(self, now: datetime) -> bool:
        machine_now = self._machine_now()
        if self._resources.server.are_fresh(now, machine_now):
            return False
        self._resources.server = ensure_server_certificates(self._kept, self._server_names, now, machine_now)
        self._record(AuditKind.ROTATED, now, "the server's certificates were renewed")
        return True

    def _report_keys(self) -> None:
        """Note each CA that cannot sign once in this process: its devices would be the first to find out."""
        authorities = self._resources.adr.authorities
        for namespace in self._resources.adr.namespaces():
            signers: list[Credential | IssuingCa] = []
            signers += [each for each in authorities.roots(namespace.name) if not each.is_deleted]
            signers += [each for each in authorities.all_current(namespace.name) if each.certificate is not None]
            for authority in signers:
                try:
                    authorities.signer(authority)
                except IssuerKeyMissing as error:
                    self._report_key(namespace.name, authority.key_name, error)

    def _report_key(self, namespace: str, name: str, error: IssuerKeyMissing) -> None:
        if name not in self._reported:
            self._reported.add(name)
            logger.error("a CA of namespace %s cannot sign anything: %s", namespace, error)

    def _report_roots(self, now: datetime) -> None:
        """Note each ageing root once in this process."""
        for root in ageing_roots(self._resources.adr, now):
            if root.namespace in self._reported:
                continue
            self._reported.add(root.namespace)
            logger.warning("%s", root.describe(now))
            self._record(AuditKind.REPORTED, now, root.describe(now), root.namespace)

    def _record(self, kind: AuditKind, now: datetime, reason: str, service: str = "") -> None:
        self._resources.adr.audit.record(kind, now, service=service, reason=reason)
