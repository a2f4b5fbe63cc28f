"""Composes the emulator's resources: brings the state to what a configuration declares, and builds the services on it.

The only place where stores, registries, hubs and provisioning services meet.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509

from adr.errors import NamespaceNotFound, PolicyNotFound
from adr.registry import AdrRegistry
from adr.rotation import rotate_issuers
from adr.store import Store, StoreError
from certs.keyfile import KeyStore, write_atomic
from certs.keys import PrivateKey
from certs.pem import format_pem
from dps.service import ProvisioningService
from emulator.config_sections import Config, NamespaceSection
from emulator.declared_enrollments import DeclaredEnrollments
from emulator.declared_hub_certificates import declare_hub_certificates
from emulator.declared_services import Services, declared_services, record_services, recorded_services
from emulator.development_ca import (
    DevelopmentCa,
    ensure_development_ca,
    export_development_ca,
    find_development_ca,
    open_dev_ca,
)
from emulator.faults.issuing import FaultyRegistry
from emulator.kept_certificates import KeptCertificates
from emulator.server_certificates import ServerCertificates, ensure_server_certificates, find_server_certificates
from emulator.state import StateDirectory
from hub.hub import Hub

__all__ = ["Resources", "bootstrap", "open_dev_ca", "recall"]

logger = logging.getLogger("emulator")


@dataclass(slots=True)
class Resources:
    """Everything the emulator serves, over one store.

    `dev_ca` and `server` are replaced when they are renewed (`emulator.upkeep`). `server_ca_file` is where clients
    find the server CA's certificate, None without a state directory.
    """

    adr: AdrRegistry
    hubs: list[Hub]
    dps: list[ProvisioningService]
    dev_ca: DevelopmentCa
    server: ServerCertificates
    server_ca_file: Path | None

    @property
    def server_ca(self) -> x509.Certificate:
        """The certificate that clients have to trust; it is no ADR root."""
        return self.server.ca

    @property
    def server_certificates(self) -> Sequence[tuple[x509.Certificate, PrivateKey]]:
        """The leaves the server shows, each with its key: ECDSA, then RSA."""
        return self.server.leaves


def bootstrap(
    config: Config,
    store: Store,
    keys: KeyStore,
    state_dir: Path | None,
    now: datetime,
    *,
    machine_now: datetime | None = None,
) -> Resources:
    """Create what is declared and missing, update what is declared otherwise, find the rest again.

    A second call with the same configuration writes nothing. What was done is logged; the caller commits.

    Args:
        config: what is declared.
        store: the state.
        keys: the private keys of CAs and of the server.
        state_dir: where certificates are put for others to read; None puts them nowhere.
        now: the present.
        machine_now: the machine's time, if it is another: the server's certificates are valid at both.

    Raises:
        AdrError: a policy cannot be made, for example because the root has expired.
        ConfigError: an enrollment that was made by other means is in the way.
        StoreError: the state cannot be read or written.
    """
    url = f"http://127.0.0.1:{config.ports.control or 8080}"
    adr = FaultyRegistry(store, keys, public_url=url, allow_short_validity=config.allow_short_validity)
    for name, namespace in config.namespaces.items():
        _declare_namespace(adr, name, namespace, now)
    rotate_issuers(adr, now)
    services = declared_services(config, store)
    record_services(store, services)
    certificates = KeptCertificates(store, keys)
    server = ensure_server_certificates(certificates, server_names(config, services), now, machine_now)
    dev_ca = ensure_development_ca(certificates, now)
    hubs, dps = _compose(services, adr, store)
    resources = Resources(adr, hubs, dps, dev_ca, server, _server_ca_file(state_dir))
    declare_trust(config, store, resources, now)
    export(resources, state_dir)
    return resources


def declare_trust(config: Config, store: Store, resources: Resources, now: datetime) -> None:
    """Bring the CAs of hubs and the enrollments to what is declared; `dev-ca` is the development CA as it is now.

    Raises:
        ConfigError: an enrollment that was made by other means is in the way.
    """
    for hub in resources.hubs:
        declare_hub_certificates(hub, config.hubs[hub.settings.name].ca_certificates, resources.dev_ca)
    host_names = {hub.settings.name: hub.settings.host_name for hub in resources.hubs}
    for service in resources.dps:
        section = config.dps[service.settings.name]
        DeclaredEnrollments(store, service, resources.dev_ca, host_names).apply(section, now)


def export(resources: Resources, state_dir: Path | None) -> None:
    """Put the certificates of the development CA and the server CA where others read them.

    Raises:
        OSError: they cannot be written.
    """
    if state_dir is not None:
        export_development_ca(resources.dev_ca, state_dir)
        _export_server_ca(resources.server_ca, StateDirectory(state_dir).server_ca)


def recall(store: Store, keys: KeyStore, state_dir: Path | None) -> Resources:
    """Compose the resources of the last start, for looking at them; nothing is written.

    Raises:
        StoreError: no emulator ever started on this state, or a part of it is missing or cannot be read.
    """
    certificates = KeptCertificates(store, keys)
    services = recorded_services(store)
    server, dev_ca = find_server_certificates(certificates), find_development_ca(certificates)
    if services is None or server is None or dev_ca is None:
        raise StoreError("the state is not complete: run `hublet up` first")
    adr = AdrRegistry(store, keys)
    hubs, dps = _compose(services, adr, store)
    return Resources(adr, hubs, dps, dev_ca, server, _server_ca_file(state_dir))


def _declare_namespace(adr: AdrRegistry, name: str, section: NamespaceSection, now: datetime) -> None:
    try:
        adr.namespace(name)
    except NamespaceNotFound:
        adr.create_namespace(name, now)
    for policy, terms in section.policies.items():
        try:
            present = adr.policy(name, policy)
        except PolicyNotFound:
            adr.create_policy(name, policy, now, leaf_validity=terms.leaf_validity)
            continue
        if present.leaf_validity != terms.leaf_validity:
            adr.update_policy(name, policy, leaf_validity=terms.leaf_validity)
            logger.info("namespaces.%s.policies.%s: leaves now live %s", name, policy, terms.leaf_validity)


def _compose(services: Services, adr: AdrRegistry, store: Store) -> tuple[list[Hub], list[ProvisioningService]]:
    hubs = {settings.name: Hub(settings, store, adr) for settings in services.hubs}
    dps = []
    for each in services.dps:
        linked = {hubs[name].settings.host_name: hubs[name] for name in each.hubs}
        dps.append(ProvisioningService(each.settings, store, adr, linked))
    return list(hubs.values()), dps


def _server_ca_file(state_dir: Path | None) -> Path | None:
    return None if state_dir is None else StateDirectory(state_dir).server_ca


def server_names(config: Config, services: Services) -> list[str]:
    """Collect what devices may dial: every host name, and the addresses we are bound to by name."""
    names = [name for dps in services.dps for name in dps.settings.host_names]
    names += [name for hub in services.hubs for name in (hub.host_name, *hub.aliases)]
    names += [address for address in config.bind_addresses if not ip_address(address).is_unspecified]
    return [*names, *config.host_names]


def _export_server_ca(certificate: x509.Certificate, path: Path) -> None:
    pem = format_pem(certificate)
    if not path.exists() or path.read_bytes() != pem:
        write_atomic(path, pem)
