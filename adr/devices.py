"""The device records of all namespaces, and the notes of what was issued for each device."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from uuid import uuid4

from adr.device import AdrDevice, device_key, format_device, parse_device
from adr.errors import DeviceNotFound
from adr.issuance import IssuedCertificate, format_issued, issued_key, parse_issued
from adr.parsed import RecentlyParsed
from adr.store import Record, Store, each_record

DEVICES = "adr.devices"
CERTIFICATES = "adr.certificates"
# Devices that have just registered come to the hub next.
MAX_PARSED = 1_024


class Devices:
    """Device records and notes, by namespace and exact device ID."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._parsed = RecentlyParsed(lambda record: parse_device(record.value), MAX_PARSED)

    def get(self, namespace: str, device_id: str) -> AdrDevice | None:
        """Return a device's record, or None; the ID is case-sensitive."""
        record = self._store.get(DEVICES, device_key(namespace, device_id))
        return self._parsed.of(record) if record else None

    def require(self, namespace: str, device_id: str) -> AdrDevice:
        """Return a device's record.

        Raises:
            DeviceNotFound: the namespace has no such device.
        """
        device = self.get(namespace, device_id)
        if device is None:
            raise DeviceNotFound(f"namespace {namespace!r} has no device {device_id!r}")
        return device

    def register(self, namespace: str, device_id: str, policy: str | None, now: datetime) -> AdrDevice:
        """Record a device, or set the policy of one that is there; a record that stays the same is not written."""
        present = self.get(namespace, device_id)
        if present is None:
            return self.put(namespace, AdrDevice(device_id, uuid4(), policy, enabled=True, created=now))
        if present.policy == policy:
            return present
        return self.put(namespace, replace(present, policy=policy))

    def put(self, namespace: str, device: AdrDevice) -> AdrDevice:
        """Write a device's record and return it."""
        key, text = device_key(namespace, device.device_id), format_device(device)
        self._parsed.know(Record(key, text, self._store.put(DEVICES, key, text)), device)
        return device

    def delete(self, namespace: str, device_id: str) -> None:
        """Remove a device's record; the notes of its certificates stay."""
        self._store.delete(DEVICES, device_key(namespace, device_id))

    def page(self, namespace: str, after: str = "", limit: int = 100) -> list[AdrDevice]:
        """Return devices in the order of their IDs, those after an ID."""
        start = device_key(namespace, after) if after else ""
        records = self._store.list(DEVICES, device_key(namespace, ""), start, limit)
        return [parse_device(record.value) for record in records]

    def note(self, namespace: str, issued: IssuedCertificate) -> None:
        """Keep the note of an issued certificate."""
        key = issued_key(namespace, issued.device_id, issued.serial_number)
        self._store.put(CERTIFICATES, key, format_issued(issued))

    def noted(self, namespace: str, device_id: str, serial_number: str) -> IssuedCertificate | None:
        """Return the note of one certificate, None when it was not issued here."""
        record = self._store.get(CERTIFICATES, issued_key(namespace, device_id, serial_number))
        return parse_issued(record.key, record.value) if record else None

    def notes(self, namespace: str, device_id: str) -> Iterator[IssuedCertificate]:
        """Go through the notes of every certificate ever issued for a device, in no particular order."""
        for record in each_record(self._store, CERTIFICATES, issued_key(namespace, device_id, "")):
            yield parse_issued(record.key, record.value)
