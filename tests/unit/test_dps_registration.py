"""The registration state machine."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from dps.attestation_mechanism import AttestationType
from dps.errors import RegistrationInProgress
from dps.registration import (
    TRANSITIONS,
    Registration,
    RegistrationEvent,
    RegistrationStatus,
    Substatus,
    format_registration,
    registration_of,
)

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
LATER = NOW + timedelta(seconds=5)
NEW = Registration(registration_id="sensor-001", created_at=NOW, last_updated_at=NOW)
BEGUN = NEW.begin("sensor-001", "5.1.a", NOW)
PLACED = replace(BEGUN, assigned_hub="hub1.example", device_id="sensor-001")


def test_happy_path() -> None:
    assert (NEW.status, BEGUN.status) == (RegistrationStatus.UNASSIGNED, RegistrationStatus.ASSIGNING)
    assigned = PLACED.assign(LATER, is_issued=True)
    assert (assigned.status, assigned.is_issued) == (RegistrationStatus.ASSIGNED, True)
    assert (assigned.created_at, assigned.last_updated_at) == (NOW, LATER)


def test_second_registration_forgets_the_error_and_keeps_the_assignment() -> None:
    failed = PLACED.fail(400040, "bad CSR", LATER)
    assert (failed.status, failed.error_code) == (RegistrationStatus.FAILED, 400040)
    again = failed.begin("Sensor-001", "5.2.b", LATER)
    assert (again.error_code, again.error_message) == (None, None)
    assert (again.registration_id, again.operation_id) == ("Sensor-001", "5.2.b")
    assert (again.assigned_hub, again.created_at) == ("hub1.example", NOW)


def test_registration_stays_issued() -> None:
    issued = PLACED.assign(NOW, is_issued=True).begin("sensor-001", "5.2.b", NOW)
    assert issued.assign(NOW, is_issued=False).is_issued


def test_one_operation_runs_at_a_time() -> None:
    with pytest.raises(RegistrationInProgress, match=r"sensor-001 is assigning in operation 5\.1\.a"):
        BEGUN.begin("sensor-001", "5.2.b", NOW)


def test_device_without_a_hub_cannot_be_assigned() -> None:
    with pytest.raises(AssertionError, match="was not placed"):
        BEGUN.assign(NOW, is_issued=False)


@pytest.mark.parametrize(("status", "event"), list(product(RegistrationStatus, RegistrationEvent)))
def test_table_allows_what_the_service_does(status: RegistrationStatus, event: RegistrationEvent) -> None:
    is_finishing = event in (RegistrationEvent.ASSIGN, RegistrationEvent.FAIL)
    is_assigning = status is RegistrationStatus.ASSIGNING
    allowed = event is RegistrationEvent.DISABLE or is_assigning == is_finishing
    assert ((status, event) in TRANSITIONS) == allowed


@pytest.mark.parametrize("status", RegistrationStatus)
def test_registration_can_be_disabled_at_any_time(status: RegistrationStatus) -> None:
    disabled = replace(PLACED, status=status).disable(LATER)
    assert (disabled.status, disabled.assigned_hub) == (RegistrationStatus.DISABLED, "hub1.example")


FULL = replace(
    PLACED,
    status=RegistrationStatus.ASSIGNED,
    attestation_type=AttestationType.X509,
    enrollment_group_id="factory",
    substatus=Substatus.DEVICE_DATA_MIGRATED,
    is_issued=True,
    error_code=400040,
    error_message="ä",
    payload={"a": [1]},
)


@pytest.mark.parametrize("registration", [NEW, BEGUN, PLACED, FULL])
def test_registration_is_read_as_it_was_written(registration: Registration) -> None:
    assert registration_of(format_registration(registration)) == registration
