"""The stored registrations."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from dps.errors import RegistrationNotFound
from dps.registration import Registration
from dps.registrations import Registrations
from emulator.store import SqliteStore

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
REGISTRATION = Registration(registration_id="Sensor-001", created_at=NOW, last_updated_at=NOW)


@pytest.fixture
def registrations() -> Iterator[Registrations]:
    with SqliteStore(":memory:") as store:
        yield Registrations(store, "0ne0")


def test_registration_is_found_in_any_case(registrations: Registrations) -> None:
    registrations.put(REGISTRATION)
    assert registrations.get("SENSOR-001") == registrations.find("sensor-001") == REGISTRATION


def test_etag_changes_with_each_put(registrations: Registrations) -> None:
    assert registrations.put(REGISTRATION) != registrations.put(replace(REGISTRATION, device_id="x"))


def test_unknown_registration(registrations: Registrations) -> None:
    assert registrations.find("sensor-001") is None
    with pytest.raises(RegistrationNotFound, match="'sensor-001'"):
        registrations.get("sensor-001")
