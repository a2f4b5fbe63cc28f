"""The stored enrollments of one DPS, and how a group is found by what a device presents."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Generic, TypeVar

from cryptography import x509

from adr.parsed import RecentlyParsed
from adr.store import Record, Store
from dps.ca_certificates import CaCertificates
from dps.enrollment import Enrollment, EnrollmentGroup
from dps.enrollment_format import format_enrollment, parse_enrollment_group, parse_individual_enrollment
from dps.enrollment_index import CA_REFERENCES_PREFIX, SYMMETRIC_KEY_PREFIX, index_keys, subject_prefix
from dps.errors import EnrollmentConflict, EnrollmentNotFound, EtagMismatch
from dps.etag import etag_matches, format_etag
from dps.registration_id import registration_key

MAX_PARSED = 4096
AnyEnrollment = TypeVar("AnyEnrollment", bound=Enrollment)


class EnrollmentTable(Generic[AnyEnrollment]):
    """Enrollments of one kind by their ID, which is case-insensitive; ETags are the store's revisions."""

    def __init__(
        self,
        store: Store,
        table: str,
        parse: Callable[[object], AnyEnrollment],
        check: Callable[[Enrollment], None],
    ) -> None:
        self._store = store
        self._table = table
        self._parse = parse
        self._check = check
        self._parsed = RecentlyParsed(self._parse_record, MAX_PARSED)

    def find(self, name: str) -> AnyEnrollment | None:
        """Read an enrollment; None when there is none."""
        record = self._store.get(self._table, registration_key(name))
        return None if record is None else self._parsed.of(record)

    def get(self, name: str) -> AnyEnrollment:
        """Read an enrollment.

        Raises:
            EnrollmentNotFound: none has this ID.
        """
        enrollment = self.find(name)
        if enrollment is None:
            raise EnrollmentNotFound(f"there is no enrollment {name!r}")
        return enrollment

    def put(self, enrollment: AnyEnrollment, now: datetime, if_match: str | None = None) -> AnyEnrollment:
        """Create or replace an enrollment and return it as stored, with its times and ETag.

        Raises:
            BadRequest: it breaks a rule for enrollments.
            EtagMismatch: `if_match` is given and is not the present ETag, or there is nothing to match.
            NamespaceRequired: it names a credential policy and this DPS has no namespace.
        """
        self._check(enrollment)
        present = self.find(enrollment.name)
        self._require_match(enrollment.name, present, if_match)
        created_at = present.created_at if present else now
        stored = replace(enrollment, created_at=created_at, last_updated_at=now, etag="")
        text = json.dumps(format_enrollment(stored))
        revision = self._store.put(self._table, registration_key(enrollment.name), text)
        return replace(stored, etag=format_etag(created_at, revision))

    def delete(self, name: str, if_match: str | None = None) -> None:
        """Remove an enrollment; devices that are registered keep their hub and their identity.

        Raises:
            EnrollmentNotFound: none has this ID.
            EtagMismatch: `if_match` is given and is not the present ETag.
        """
        self._require_match(name, self.get(name), if_match)
        self._store.delete(self._table, registration_key(name))

    def list(self, after: str = "", limit: int = 1000) -> list[AnyEnrollment]:
        """Read enrollments in the order of their IDs, those after `after`."""
        records = self._store.list(self._table, after=registration_key(after), limit=limit)
        return [self._parsed.of(record) for record in records]

    def _parse_record(self, record: Record) -> AnyEnrollment:
        enrollment = self._parse(json.loads(record.value))
        return replace(enrollment, etag=format_etag(enrollment.created_at, record.revision))

    def _require_match(self, name: str, present: AnyEnrollment | None, if_match: str | None) -> None:
        if if_match is None:
            return
        if present is None or not etag_matches(if_match, present.etag):
            raise EtagMismatch(f"If-Match {if_match[:80]!r} is not the present ETag of enrollment {name!r}")


class EnrollmentGroups(EnrollmentTable[EnrollmentGroup]):
    """The enrollment groups, with an index of CA subjects, of CA references and of groups with keys."""

    def __init__(self, store: Store, id_scope: str, check: Callable[[Enrollment], None]) -> None:
        super().__init__(store, f"dps.{id_scope}.enrollmentGroups", parse_enrollment_group, check)
        self._index = f"dps.{id_scope}.enrollmentGroupIndex"

    def put(self, enrollment: EnrollmentGroup, now: datetime, if_match: str | None = None) -> EnrollmentGroup:
        """Create or replace a group and return it as stored, with its times and ETag.

        Raises:
            BadRequest: it breaks a rule for enrollments.
            EnrollmentConflict: a signing certificate belongs to another group.
            EtagMismatch: `if_match` is given and is not the present ETag, or there is nothing to match.
            NamespaceRequired: it names a credential policy and this DPS has no namespace.
        """
        keys = index_keys(enrollment)
        for key in keys:
            self._require_free(key, enrollment)
        present = self.find(enrollment.name)
        stored = super().put(enrollment, now, if_match)
        for key in (index_keys(present) if present else set()) - keys:
            self._store.delete(self._index, key)
        for key in keys:
            self._store.put(self._index, key, json.dumps(registration_key(enrollment.name)))
        return stored

    def delete(self, name: str, if_match: str | None = None) -> None:
        """Remove a group; devices that are registered keep their hub and their identity.

        Raises:
            EnrollmentNotFound: none has this ID.
            EtagMismatch: `if_match` is given and is not the present ETag.
        """
        present = self.get(name)
        super().delete(name, if_match)
        for key in index_keys(present):
            self._store.delete(self._index, key)

    def with_symmetric_keys(self) -> list[EnrollmentGroup]:
        """Read the groups that derive device keys, in the order of their IDs."""
        return self._indexed(SYMMETRIC_KEY_PREFIX)

    def with_ca_references(self) -> list[EnrollmentGroup]:
        """Read the groups that name CA certificates of this DPS, in the order of their IDs."""
        return self._indexed(CA_REFERENCES_PREFIX)

    def with_signing_certificate(self, subject: x509.Name) -> list[EnrollmentGroup]:
        """Read the groups that hold a signing certificate of this subject."""
        return self._indexed(subject_prefix(subject))

    def _indexed(self, prefix: str) -> list[EnrollmentGroup]:
        names = dict.fromkeys(json.loads(record.value) for record in self._store.list(self._index, prefix))
        return [self.get(name) for name in names]

    def _require_free(self, key: str, group: EnrollmentGroup) -> None:
        """Keep a signing certificate in one group: which group a chain belongs to must not depend on chance.

        Source: assumed.
        """
        record = self._store.get(self._index, key)
        if record and json.loads(record.value) != registration_key(group.name):
            raise EnrollmentConflict(
                f"a signing certificate of group {group.name!r} belongs to group {json.loads(record.value)!r}"
            )


class Enrollments:
    """Everything one DPS trusts: individual enrollments, groups and uploaded CA certificates."""

    def __init__(self, store: Store, id_scope: str, check: Callable[[Enrollment], None]) -> None:
        table = f"dps.{id_scope}.enrollments"
        self.individuals = EnrollmentTable(store, table, parse_individual_enrollment, check)
        self.groups = EnrollmentGroups(store, id_scope, check)
        self.ca_certificates = CaCertificates(store, id_scope)
