"""The stored registrations of one DPS."""

import json

from adr.store import Store
from dps.errors import RegistrationNotFound
from dps.etag import format_etag
from dps.registration import Registration, format_registration, parse_registration
from dps.registration_id import registration_key


class Registrations:
    """Registrations by their ID, which is case-insensitive."""

    def __init__(self, store: Store, id_scope: str) -> None:
        self._store = store
        self._table = f"dps.{id_scope}.registrations"

    def find(self, registration_id: str) -> Registration | None:
        """Read a registration; None when the device never registered."""
        record = self._store.get(self._table, registration_key(registration_id))
        return None if record is None else parse_registration(record.value)

    def get(self, registration_id: str) -> Registration:
        """Read a registration.

        Raises:
            RegistrationNotFound: the device never registered.
        """
        registration = self.find(registration_id)
        if registration is None:
            raise RegistrationNotFound(f"there is no registration {registration_id!r}")
        return registration

    def put(self, registration: Registration) -> str:
        """Write a registration and return its ETag."""
        key = registration_key(registration.registration_id)
        revision = self._store.put(self._table, key, json.dumps(format_registration(registration)))
        return format_etag(registration.created_at, revision)
