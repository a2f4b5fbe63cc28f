import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from adr.store import Record
from hub.identity import Authentication, AuthenticationType, DeviceIdentity, DeviceStatus, ModuleIdentity, format_etag
from hub.identity_json import (
    format_device_record,
    format_identity,
    format_module_record,
    format_time,
    parse_device_record,
    parse_module_record,
)

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
GENERATION = "637547758448037735"
SAS = Authentication(AuthenticationType.SAS, "cHJpbWFyeS1rZXktMDEyMw==", "c2Vjb25kYXJ5LWtleS0wMQ==")
THUMBPRINT = Authentication(AuthenticationType.SELF_SIGNED, primary_thumbprint="A" * 40)
DEVICE = DeviceIdentity("dev1", GENERATION, format_etag(GENERATION, 3), SAS, NOW)


@pytest.mark.parametrize(
    "device",
    [
        DEVICE,
        replace(DEVICE, authentication=THUMBPRINT),
        replace(DEVICE, status=DeviceStatus.DISABLED, status_reason="stolen", status_updated=NOW + timedelta(days=1)),
    ],
)
def test_device_reads_back_from_its_record(device: DeviceIdentity) -> None:
    assert parse_device_record(Record("dev1", format_device_record(device), 3)) == device


def test_module_reads_back_from_its_record() -> None:
    module = ModuleIdentity("dev1", "mod1", GENERATION, format_etag(GENERATION, 1), SAS, NOW, "iotEdge")
    assert parse_module_record(Record("dev1/mod1", format_module_record(module), 1)) == module


def test_rest_shape_of_a_device() -> None:
    assert json.loads(json.dumps(format_identity(DEVICE))) == {
        "deviceId": "dev1",
        "generationId": GENERATION,
        "etag": format_etag(GENERATION, 3),
        "connectionState": "Disconnected",
        "status": "enabled",
        "statusReason": None,
        "connectionStateUpdatedTime": "0001-01-01T00:00:00Z",
        "statusUpdatedTime": "0001-01-01T00:00:00Z",
        "lastActivityTime": "0001-01-01T00:00:00Z",
        "cloudToDeviceMessageCount": 0,
        "authentication": {
            "type": "sas",
            "symmetricKey": {"primaryKey": SAS.primary_key, "secondaryKey": SAS.secondary_key},
            "x509Thumbprint": {"primaryThumbprint": None, "secondaryThumbprint": None},
        },
        "capabilities": {"iotEdge": False},
    }


def test_time_has_seven_fraction_digits_in_utc() -> None:
    assert format_time(NOW) == "2026-11-23T12:00:00.1234560Z"
    assert format_time(NOW.astimezone(timezone(timedelta(hours=-5)))) == "2026-11-23T12:00:00.1234560Z"
