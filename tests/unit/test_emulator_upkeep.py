"""What the emulator renews of its own while its time goes on."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from adr.audit import LIFECYCLE, AuditKind
from certs.keyfile import FileKeyStore
from certs.keys import KeyType, generate_key
from certs.path import ValidPath, validate_path
from emulator.bootstrap import Resources, bootstrap
from emulator.config import default_config
from emulator.development_ca import open_dev_ca
from emulator.store import SqliteStore
from emulator.upkeep import Upkeep

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
DAY = timedelta(days=1)
YEAR = timedelta(days=365)


class House:
    """A composed emulator in a directory, with the machine's time standing still."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = SqliteStore(directory / "hublet.sqlite")
        keys = FileKeyStore(directory / "keys")
        config = default_config()
        self.resources: Resources = bootstrap(config, self.store, keys, directory, NOW)
        self.store.commit()
        self.upkeep = Upkeep(config, self.store, keys, directory, self.resources, machine_now=lambda: NOW)

    def events(self) -> list[str]:
        trail = self.resources.adr.audit.read(LIFECYCLE)
        return [event.reason for _, event in trail if event.kind in {AuditKind.ROTATED, AuditKind.REPORTED}]

    def client_trusts(self, anchor: x509.Certificate, now: datetime) -> bool:
        """A client that read the CA file once accepts the server at a time of its own."""
        verifier = PolicyBuilder().store(Store([anchor])).time(now).build_server_verifier(x509.DNSName("localhost"))
        return all(verifier.verify(leaf, []) for leaf, _ in self.resources.server.leaves)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_nothing_is_renewed_while_all_is_fresh(house: House) -> None:
    assert not house.upkeep.run(NOW + 30 * DAY)
    assert house.events() == []


def test_it_is_looked_at_once_an_hour_and_at_once_after_a_jump(house: House) -> None:
    house.upkeep.run(NOW)
    assert not house.upkeep.run(NOW + timedelta(minutes=59))
    assert house.upkeep.run(NOW + 2 * YEAR)
    assert not house.upkeep.run(NOW)  # back again: what is valid at both times stays


@pytest.mark.parametrize("elapsed", [350 * DAY, 2 * YEAR, 20 * YEAR, -3 * YEAR, -40 * YEAR], ids=str)
def test_server_certificates_are_valid_at_the_machines_and_the_emulators_time(house: House, elapsed: timedelta) -> None:
    first_ca = house.resources.server.ca
    assert house.upkeep.run(NOW + elapsed)
    assert house.client_trusts(first_ca, NOW), "clients that trust the first CA certificate go by the machine's time"
    assert house.client_trusts(house.resources.server.ca, NOW)
    assert house.client_trusts(house.resources.server.ca, NOW + elapsed)


def test_development_ca_is_renewed_and_its_group_follows(house: House) -> None:
    later = NOW + 6 * YEAR
    old = house.resources.dev_ca
    house.upkeep.run(later)
    new = open_dev_ca(house.directory)
    assert new is not None
    assert new.certificate != old.intermediate.certificate
    group = house.resources.dps[0].enrollments.groups.get("dev-ca")
    assert group.attestation.primary.certificate == new.certificate  # type: ignore[union-attr]


def test_device_of_the_former_development_root_stays_good(house: House) -> None:
    """The root is certified anew with the same key, before its leaves have expired."""
    house.upkeep.run(NOW + 5 * YEAR)
    old, near_the_end = house.resources.dev_ca, NOW + 10 * YEAR - 20 * DAY
    key = generate_key(KeyType.P256).public_key()
    leaf = old.intermediate.issue_onboarding("d", key, NOW + 5 * YEAR, validity=20 * YEAR)
    house.upkeep.run(near_the_end)
    assert house.resources.dev_ca.root != old.root
    path = validate_path(leaf, [old.intermediate.certificate], [house.resources.dev_ca.root], near_the_end)
    assert isinstance(path, ValidPath)


def test_issuing_cas_are_rotated(house: House) -> None:
    house.upkeep.run(NOW + 700 * DAY)
    assert [reason for reason in house.events() if "issues from now on" in reason]


def test_root_near_its_end_is_reported_once(house: House) -> None:
    for day in range(3):
        house.upkeep.run(NOW + 9 * YEAR + 300 * DAY + day * DAY)
    assert len([reason for reason in house.events() if "root CA of namespace default expires" in reason]) == 1
    assert house.upkeep.warnings(NOW + 9 * YEAR + 300 * DAY)
    assert house.upkeep.warnings(NOW) == []


@pytest.mark.parametrize("name", ["default.root-1", "default.default.1"])
@pytest.mark.parametrize("damage", [lambda key: key.unlink(), lambda key: key.write_text("x")], ids=["gone", "damaged"])
def test_ca_without_its_key_is_named_once_before_a_device_asks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, damage: Callable[[Path], None]
) -> None:
    House(tmp_path).store.close()
    damage(tmp_path / "keys" / f"{name}.key")
    house = House(tmp_path)
    house.upkeep.run(NOW)
    house.upkeep.run(NOW + DAY)
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert name in errors[0]
    assert "namespace default cannot sign" in errors[0]


def test_expired_root_ends_nothing_but_issuing(house: House) -> None:
    house.upkeep.run(NOW + 11 * YEAR)
    assert "expired at" in house.upkeep.warnings(NOW + 11 * YEAR)[0]


def test_what_was_renewed_is_committed(house: House) -> None:
    house.upkeep.run(NOW + 700 * DAY)
    serials = [leaf.serial_number for leaf, _ in house.resources.server.leaves]
    house.store.close()
    again = House(house.directory)
    assert [leaf.serial_number for leaf, _ in again.resources.server.leaves] == serials
    again.store.close()
