from collections.abc import Iterator

import pytest

from emulator.store import SqliteStore
from hub.policies import AccessRights, SharedAccessPolicies, SharedAccessPolicy

OWNER = (
    AccessRights.REGISTRY_READ
    | AccessRights.REGISTRY_WRITE
    | AccessRights.SERVICE_CONNECT
    | AccessRights.DEVICE_CONNECT
)


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    with SqliteStore(":memory:") as store:
        yield store


def test_new_hub_has_the_default_policies_with_their_rights(store: SqliteStore) -> None:
    policies = SharedAccessPolicies(store, "hub1")
    assert {policy.name: policy.rights for policy in policies.list()} == {
        "iothubowner": OWNER,
        "service": AccessRights.SERVICE_CONNECT,
        "device": AccessRights.DEVICE_CONNECT,
        "registryRead": AccessRights.REGISTRY_READ,
        "registryReadWrite": AccessRights.REGISTRY_READ | AccessRights.REGISTRY_WRITE,
    }


def test_every_key_is_its_own(store: SqliteStore) -> None:
    policies = SharedAccessPolicies(store, "hub1").list()
    keys = {key for policy in policies for key in (policy.primary_key, policy.secondary_key)}
    assert len(keys) == 10


def test_keys_survive_a_restart(store: SqliteStore) -> None:
    before = SharedAccessPolicies(store, "hub1").list()
    assert SharedAccessPolicies(store, "hub1").list() == before
    assert SharedAccessPolicies(store, "hub2").list() != before


def test_added_policy_replaces_the_one_of_its_name(store: SqliteStore) -> None:
    policies = SharedAccessPolicies(store, "hub1")
    policy = SharedAccessPolicy("device", AccessRights.DEVICE_CONNECT, "a2V5MQ==", "a2V5Mg==")
    policies.add(policy)
    assert policies.get("device") == policy
    assert policies.get("other") is None


def test_representation_hides_keys() -> None:
    policy = SharedAccessPolicy("device", AccessRights.DEVICE_CONNECT, "a2V5MQ==", "a2V5Mg==")
    assert "a2V5" not in repr(policy)
