"""Operations: their IDs and their stored form."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from dps.api_version import parse_api_version
from dps.operation import (
    Operation,
    PendingRequest,
    first_operation_id,
    format_operation,
    format_operation_id,
    parse_operation,
)
from dps.registration import Registration
from dps.request import RegisterRequest

NOW = datetime(2026, 11, 23, 10, 0, 0, 123456, tzinfo=UTC)
ID = UUID("b1e02da8-aaaa-4bbb-8ccc-000000000001")
REGISTRATION = Registration(registration_id="sensor-001", created_at=NOW, last_updated_at=NOW)
PENDING = PendingRequest(
    RegisterRequest(b"\x30\x00", {"a": 1}), parse_api_version("2019-03-31"), "factory", True, "Sensor-001", NOW
)


def test_operation_id_has_the_form_of_azure() -> None:
    operation_id = format_operation_id(NOW, ID)
    assert re.fullmatch(r"5\.[0-9a-f]{16}\.b1e02da8-aaaa-4bbb-8ccc-000000000001", operation_id)


def test_operation_ids_sort_by_age() -> None:
    older = format_operation_id(NOW - timedelta(microseconds=1), UUID(int=2**128 - 1))
    assert older < first_operation_id(NOW) < format_operation_id(NOW, UUID(int=0))


def test_no_operation_is_older_than_1970() -> None:
    assert first_operation_id(datetime(1969, 1, 1, tzinfo=UTC)) < format_operation_id(
        datetime(1970, 1, 1, tzinfo=UTC), ID
    )


@pytest.mark.parametrize(
    "operation",
    [
        Operation("5.1.a", REGISTRATION),
        Operation("5.1.a", REGISTRATION, "etag", ("bGVhZg==", "aWNh", "cm9vdA==")),
        Operation("5.1.a", REGISTRATION, pending=PENDING),
        Operation(
            "5.1.a",
            REGISTRATION,
            pending=PendingRequest(
                RegisterRequest(), parse_api_version("2026-11-01"), "sensor-001", False, "sensor-001", NOW
            ),
        ),
    ],
)
def test_operation_is_read_as_it_was_written(operation: Operation) -> None:
    assert parse_operation(operation.operation_id, format_operation(operation)) == operation
