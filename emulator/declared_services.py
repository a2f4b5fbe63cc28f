"""Which hubs and DPS instances there are: as declared, and as the state remembers them from its last start."""

import json
import logging
import secrets
from dataclasses import dataclass
from datetime import timedelta

from pydantic import TypeAdapter

from adr.store import Store, each_record
from dps.settings import DpsSettings
from emulator.config_sections import Config, DpsSection
from hub.settings import HubSettings

logger = logging.getLogger("emulator")

SERVICES = "emulator.services"
SERVICES_KEY = "declared"
ID_SCOPES = "emulator.idScopes"


@dataclass(frozen=True, slots=True)
class LinkedDps:
    """A DPS with the names of the hubs it is linked to."""

    settings: DpsSettings
    hubs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Services:
    """Hubs and DPS instances, in the order of their declaration."""

    hubs: tuple[HubSettings, ...]
    dps: tuple[LinkedDps, ...]


def declared_services(config: Config, store: Store) -> Services:
    """Turn a configuration into services; an ID scope that it does not name comes from the state, or is made."""
    hubs = tuple(
        HubSettings(
            name=name,
            host_name=hub.host_name,
            aliases=hub.aliases,
            namespace=hub.namespace,
            partition_count=hub.partitions,
            disconnect_expired_certificates=hub.disconnect_expired_certificates,
            issuing_delay=timedelta(seconds=hub.issuing_delay_seconds),
            bare_certificate_array=config.quirks.bare_certificate_array,
            deliver_earlier_messages=config.quirks.deliver_earlier_messages,
            strict=config.strict,
        )
        for name, hub in config.hubs.items()
    )
    return Services(hubs, tuple(_linked_dps(config, name, dps, store) for name, dps in config.dps.items()))


def record_services(store: Store, services: Services) -> None:
    """Remember the services, and say what is different from the last start."""
    text = TypeAdapter(Services).dump_json(services).decode()
    present = store.get(SERVICES, SERVICES_KEY)
    if present is not None and present.value == text:
        return
    last = recorded_services(store)
    store.put(SERVICES, SERVICES_KEY, text)
    before = {} if last is None else _by_place(last)
    after = _by_place(services)
    for place, service in after.items():
        if before.get(place) != service:
            logger.info("%s: %s", place, "updated" if place in before else "created")
    for place in before.keys() - after.keys():
        logger.info("%s: no longer declared; it stays in the state and is not started", place)


def recorded_services(store: Store) -> Services | None:
    """Return the services of the last start, None when there was none."""
    record = store.get(SERVICES, SERVICES_KEY)
    return None if record is None else TypeAdapter(Services).validate_json(record.value)


def _linked_dps(config: Config, name: str, dps: DpsSection, store: Store) -> LinkedDps:
    settings = DpsSettings(
        name=name,
        id_scope=_id_scope(name, dps, store),
        host_names=dps.host_names,
        namespace=dps.namespace,
        retry_after_seconds=dps.retry_after_seconds,
        assigning_delay=timedelta(seconds=dps.assigning_delay_seconds),
        immediate_csr_errors=dps.immediate_csr_errors,
        strict=config.strict,
    )
    return LinkedDps(settings, tuple(config.hubs) if dps.linked_hubs is None else dps.linked_hubs)


def _id_scope(name: str, dps: DpsSection, store: Store) -> str:
    present = store.get(ID_SCOPES, name)
    if dps.id_scope is None and present is not None:
        return str(json.loads(present.value))
    id_scope = dps.id_scope or _new_id_scope(store)
    text = json.dumps(id_scope)
    if present is None or present.value != text:
        store.put(ID_SCOPES, name, text)
    return id_scope


def _new_id_scope(store: Store) -> str:
    """Make a scope that no DPS of this state has: `0ne` and eight upper-case hex digits."""
    taken = {json.loads(record.value) for record in each_record(store, ID_SCOPES)}
    while True:
        id_scope = f"0ne{secrets.token_hex(4).upper()}"
        if id_scope not in taken:
            return id_scope


def _by_place(services: Services) -> dict[str, object]:
    hubs = {f"hubs.{hub.name}": hub for hub in services.hubs}
    return {**hubs, **{f"dps.{dps.settings.name}": dps for dps in services.dps}}
