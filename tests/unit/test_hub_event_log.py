from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from emulator.store import SqliteStore
from hub.event_log import EventLog

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def log() -> Iterator[EventLog]:
    with SqliteStore(":memory:") as store:
        yield EventLog(store, "hub1", 4)


def test_event_reads_back_as_appended(log: EventLog) -> None:
    source = log.source("dev1", {"iothub-message-source": "Telemetry", "iothub-connection-module-id": "m"})
    log.append(source, b"\x00\xff", NOW, {"message-id": 'a"b'}, {"k€": "v", "null": None})
    (event,) = log.read(log.partition_of("dev1"))
    assert (event.device_id, event.module_id, event.body) == ("dev1", "m", b"\x00\xff")
    assert event.system_properties == {
        "iothub-connection-device-id": "dev1",
        "iothub-connection-module-id": "m",
        "iothub-message-source": "Telemetry",
        "message-id": 'a"b',
    }
    assert event.properties == {"k€": "v", "null": None}
    assert (event.sequence_number, event.offset, event.enqueued_time) == (0, "0", NOW)


def test_event_without_properties_reads_back(log: EventLog) -> None:
    log.append(log.source("dev1", {}), b"", NOW)
    (event,) = log.read(log.partition_of("dev1"))
    assert event.system_properties == {"iothub-connection-device-id": "dev1"}
    assert (event.properties, event.module_id) == ({}, None)


def test_sender_cannot_be_overwritten_by_a_message(log: EventLog) -> None:
    log.append(log.source("dev1", {}), b"", NOW, {"iothub-connection-device-id": "victim"})
    assert log.read(log.partition_of("dev1"))[0].device_id == "dev1"


def test_enqueued_time_is_in_utc_whatever_the_zone_of_now(log: EventLog) -> None:
    log.append(log.source("dev1", {}), b"", NOW.astimezone(timezone(timedelta(hours=2))))
    (event,) = log.read(log.partition_of("dev1"))
    assert (event.enqueued_time, event.enqueued_time.tzinfo) == (NOW, UTC)


def test_all_events_of_a_device_are_in_one_partition_in_order(log: EventLog) -> None:
    source = log.source("dev1", {})
    assert [log.append(source, bytes([n]), NOW) for n in range(5)] == [0, 1, 2, 3, 4]
    partition = log.partition_of("dev1")
    assert [event.body[0] for event in log.read(partition, 1, 3)] == [1, 2, 3]
    assert all(log.read(other) == [] for other in range(4) if other != partition)


def test_devices_are_spread_over_all_partitions(log: EventLog) -> None:
    assert {log.partition_of(f"dev{n}") for n in range(100)} == {0, 1, 2, 3}


@pytest.mark.parametrize("partition", [-1, 4])
def test_partition_that_is_not_there_is_refused(log: EventLog, partition: int) -> None:
    with pytest.raises(IndexError, match=f"partition {partition} is not one of 0–3"):
        log.read(partition)
