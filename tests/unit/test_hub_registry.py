from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from emulator.store import SqliteStore
from hub.errors import (
    ArgumentInvalid,
    DeviceAlreadyExists,
    DeviceNotFound,
    ModuleAlreadyExistsOnDevice,
    ModuleNotFound,
    PreconditionFailed,
)
from hub.identity import Authentication, AuthenticationType, DeviceStatus
from hub.registry import DeviceRegistry

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
CA = Authentication(AuthenticationType.CERTIFICATE_AUTHORITY)


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    with SqliteStore(":memory:") as store:
        yield store


@pytest.fixture
def registry(store: SqliteStore) -> DeviceRegistry:
    return DeviceRegistry(store, "hub1")


def test_created_device_reads_back(registry: DeviceRegistry) -> None:
    device = registry.create("dev1", CA, NOW, status=DeviceStatus.DISABLED, status_reason="new")
    assert registry.get("dev1") == device
    assert (device.authentication, device.enabled, device.status_reason, device.created) == (CA, False, "new", NOW)


def test_unknown_device_is_none(registry: DeviceRegistry) -> None:
    assert registry.get("dev1") is None


@pytest.mark.parametrize("authentication", [None, Authentication(AuthenticationType.SAS)])
def test_device_without_keys_gets_two_different_ones(
    registry: DeviceRegistry, authentication: Authentication | None
) -> None:
    made = registry.create("dev1", authentication, NOW).authentication
    assert made.type is AuthenticationType.SAS
    assert made.primary_key is not None
    assert made.primary_key != made.secondary_key


def test_device_ids_are_case_sensitive(registry: DeviceRegistry) -> None:
    registry.create("dev1", CA, NOW)
    assert registry.get("DEV1") is None
    registry.create("DEV1", CA, NOW)
    assert [device.device_id for device in registry.list()] == ["DEV1", "dev1"]


def test_taken_id_is_refused(registry: DeviceRegistry) -> None:
    registry.create("dev1", CA, NOW)
    with pytest.raises(DeviceAlreadyExists, match="A device with ID 'dev1' is already registered"):
        registry.create("dev1", CA, NOW)


@pytest.mark.parametrize(
    ("device_id", "authentication"),
    [
        ("a/b", None),
        ("dev1", Authentication(AuthenticationType.SAS, "AAAA", "AAAA")),
        ("dev1", Authentication(AuthenticationType.SAS, primary_key="AAAA")),
    ],
)
def test_malformed_device_is_refused_and_not_kept(
    registry: DeviceRegistry, device_id: str, authentication: Authentication | None
) -> None:
    with pytest.raises(ArgumentInvalid):
        registry.create(device_id, authentication, NOW)
    assert registry.list() == []


def test_two_hubs_do_not_share_devices(store: SqliteStore, registry: DeviceRegistry) -> None:
    registry.create("dev1", CA, NOW)
    assert DeviceRegistry(store, "hub2").get("dev1") is None


def test_list_goes_on_after_an_id(registry: DeviceRegistry) -> None:
    for n in range(5):
        registry.create(f"dev{n}", CA, NOW)
    assert [device.device_id for device in registry.list(after="dev1", limit=2)] == ["dev2", "dev3"]


def test_update_changes_status_and_etag_but_not_the_generation(registry: DeviceRegistry) -> None:
    device = registry.create("dev1", CA, NOW)
    updated = registry.update(replace(device, status=DeviceStatus.DISABLED, status_reason="stolen"), LATER)
    assert registry.get("dev1") == updated
    assert (updated.enabled, updated.status_reason, updated.status_updated) == (False, "stolen", LATER)
    assert updated.generation_id == device.generation_id
    assert updated.etag != device.etag


def test_update_that_leaves_the_status_keeps_its_time(registry: DeviceRegistry) -> None:
    device = registry.create("dev1", CA, NOW)
    disabled = registry.update(replace(device, status=DeviceStatus.DISABLED), NOW)
    again = registry.update(replace(disabled, status_reason="why"), LATER)
    assert (again.status_updated, again.status_reason) == (NOW, "why")


def test_update_with_a_stale_etag_is_refused(registry: DeviceRegistry) -> None:
    device = registry.create("dev1", CA, NOW)
    current = registry.update(device, LATER, etag=device.etag)
    with pytest.raises(PreconditionFailed, match=device.etag):
        registry.update(device, LATER, etag=device.etag)
    assert registry.get("dev1") == current


def test_update_of_an_unknown_device_is_refused(registry: DeviceRegistry) -> None:
    device = registry.create("dev1", CA, NOW)
    registry.delete("dev1")
    with pytest.raises(DeviceNotFound, match="'dev1' is not registered in hub hub1"):
        registry.update(device, NOW)


def test_change_at_the_same_time_is_refused(registry: DeviceRegistry, store: SqliteStore) -> None:
    """A distributed backend may change a record between the read and the write."""

    class Racing(DeviceRegistry):
        def _require(self, device_id: str):  # type: ignore[no-untyped-def]
            found = super()._require(device_id)
            registry.update(found[1], LATER)
            return found

    device = registry.create("dev1", CA, NOW)
    with pytest.raises(PreconditionFailed, match="dev1 was changed at the same time"):
        Racing(store, "hub1").update(device, NOW)


def test_recreated_device_has_another_generation_and_etag(registry: DeviceRegistry) -> None:
    first = registry.create("dev1", CA, NOW)
    registry.delete("dev1")
    second = registry.create("dev1", CA, NOW)
    assert second.generation_id != first.generation_id
    assert second.etag != first.etag


def test_provision_creates_and_says_so(registry: DeviceRegistry) -> None:
    device, created = registry.provision("dev1", CA, NOW)
    assert created
    assert registry.get("dev1") == device


def test_provision_of_the_same_authentication_changes_nothing(registry: DeviceRegistry) -> None:
    device, _ = registry.provision("dev1", CA, NOW)
    assert registry.provision("dev1", CA, LATER) == (device, False)


def test_provision_updates_the_authentication_and_leaves_the_status(registry: DeviceRegistry) -> None:
    device = registry.create("dev1", None, NOW, status=DeviceStatus.DISABLED)
    updated, created = registry.provision("dev1", CA, LATER)
    assert not created
    assert (updated.authentication, updated.enabled) == (CA, False)
    assert updated.generation_id == device.generation_id


def test_delete_takes_modules_sessions_and_certificate_requests_along(
    registry: DeviceRegistry, store: SqliteStore
) -> None:
    for device_id in ("dev1", "dev10"):
        registry.create(device_id, CA, NOW)
        registry.create_module(device_id, "mod1", None, NOW)
        store.put("hub1.sessions", device_id, "{}")
        store.put("hub1.sessions", f"{device_id}/mod1", "{}")
        store.put("hub1.credentials", device_id, "{}")
    registry.delete("dev1")
    assert registry.get("dev1") is None
    for table in ("hub1.devices", "hub1.modules", "hub1.sessions", "hub1.credentials"):
        assert {record.key.partition("/")[0] for record in store.list(table)} == {"dev10"}


def test_delete_with_a_stale_etag_is_refused(registry: DeviceRegistry) -> None:
    device = registry.create("dev1", CA, NOW)
    with pytest.raises(PreconditionFailed):
        registry.delete("dev1", etag="stale")
    registry.delete("dev1", etag=device.etag)
    with pytest.raises(DeviceNotFound):
        registry.delete("dev1")


def test_module_reads_back_under_its_device(registry: DeviceRegistry) -> None:
    registry.create("dev1", CA, NOW)
    module = registry.create_module("dev1", "mod1", CA, NOW, managed_by="iotEdge")
    assert registry.get_module("dev1", "mod1") == module
    assert registry.list_modules("dev1") == [module]
    assert registry.get_module("dev1", "mod2") is None
    assert registry.list_modules("dev") == []


def test_module_with_authentication_none_becomes_sas(registry: DeviceRegistry) -> None:
    registry.create("dev1", CA, NOW)
    module = registry.create_module("dev1", "mod1", Authentication(AuthenticationType.NONE), NOW)
    assert module.authentication.type is AuthenticationType.SAS


def test_module_rules(registry: DeviceRegistry) -> None:
    with pytest.raises(DeviceNotFound):
        registry.create_module("dev1", "mod1", CA, NOW)
    registry.create("dev1", CA, NOW)
    registry.create_module("dev1", "mod1", CA, NOW)
    with pytest.raises(ModuleAlreadyExistsOnDevice, match="mod1 is already registered on device dev1"):
        registry.create_module("dev1", "mod1", CA, NOW)
    with pytest.raises(ArgumentInvalid, match="moduleId"):
        registry.create_module("dev1", "a/b", CA, NOW)


def test_delete_module_takes_its_session_along(registry: DeviceRegistry, store: SqliteStore) -> None:
    registry.create("dev1", CA, NOW)
    registry.create_module("dev1", "mod1", CA, NOW)
    store.put("hub1.sessions", "dev1/mod1", "{}")
    registry.delete_module("dev1", "mod1")
    assert store.list("hub1.sessions") == []
    with pytest.raises(ModuleNotFound, match="device dev1 has no module mod1"):
        registry.delete_module("dev1", "mod1")
