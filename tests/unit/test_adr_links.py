import pytest

from adr.links import LinkedKind, Links
from emulator.store import SqliteStore


@pytest.fixture
def links() -> Links:
    return Links(SqliteStore(":memory:"))


def test_link_is_as_declared_until_somebody_says_otherwise(links: Links) -> None:
    hub = links.of(LinkedKind.HUB, "hub1", "factory")
    assert hub.namespace == "factory"
    links.link(LinkedKind.HUB, "hub1", "lab")
    assert hub.namespace == "lab"
    links.link(LinkedKind.HUB, "hub1", None)
    assert hub.namespace is None


def test_hub_and_dps_of_one_name_are_two(links: Links) -> None:
    links.link(LinkedKind.HUB, "one", "lab")
    assert links.of(LinkedKind.PROVISIONING_SERVICE, "one", None).namespace is None
    links.link(LinkedKind.PROVISIONING_SERVICE, "one", "lab")
    assert links.told("lab") == [
        (LinkedKind.HUB, "one"),
        (LinkedKind.PROVISIONING_SERVICE, "one"),
    ]
    assert links.told("other") == []
