"""A twin: tags and desired properties, which services write, and reported properties, which the device writes."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Self

from hub.identity import NEVER
from hub.identity_json import format_time
from hub.merge_patch import merge_metadata, merge_patch
from hub.twin_rules import READ_ONLY_MEMBERS, Section, check_section, check_size

NEVER_UPDATED: Final[Mapping[str, Any]] = {"$lastUpdated": format_time(NEVER)}


@dataclass(frozen=True, slots=True)
class Properties:
    """Desired or reported properties; the version starts at 1 and rises with each write, empty ones too."""

    values: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=lambda: dict(NEVER_UPDATED))
    version: int = 1

    def patched(self, section: Section, patch: Mapping[str, Any], now: datetime) -> Self:
        """Apply a checked merge patch.

        Raises:
            ArgumentInvalid: the section would become too large.
        """
        values = merge_patch(self.values, patch)
        check_size(section, values)
        stamp: dict[str, str | int] = {"$lastUpdated": format_time(now)}
        if section is Section.DESIRED:
            stamp["$lastUpdatedVersion"] = self.version + 1
        metadata = merge_metadata(self.metadata, patch, stamp)
        return replace(self, values=values, metadata=metadata, version=self.version + 1)

    def replaced(self, section: Section, values: Mapping[str, Any], now: datetime) -> Self:
        """Put other values in the place of all there are.

        Raises:
            ArgumentInvalid: they are too large.
        """
        return replace(self, values={}, metadata={}).patched(section, values, now)


@dataclass(frozen=True, slots=True)
class TwinChange:
    """What a service wants of a twin; None leaves a section alone, unless everything is to be replaced."""

    tags: Mapping[str, Any] | None = None
    desired: Mapping[str, Any] | None = None
    is_replacement: bool = False


@dataclass(frozen=True, slots=True)
class Twin:
    """The twin of a device or module; `revision` counts writes of tags and desired properties from 1."""

    tags: Mapping[str, Any] = field(default_factory=dict)
    desired: Properties = field(default_factory=Properties)
    reported: Properties = field(default_factory=Properties)
    revision: int = 1
    model_id: str | None = None

    @property
    def etag(self) -> str:
        """Base64 of the revision as 8 bytes; reported properties do not move it.

        Source: live probes of /twins/{id} (observed).
        """
        return base64.b64encode(self.revision.to_bytes(8, "big")).decode()

    @property
    def version(self) -> int:
        """One more than the revision.

        Source: iot-hub-non-telemetry-event-schema.md: a new twin has ETag AAAAAAAAAAE= and version 2 (documented).
        """
        return self.revision + 1

    def changed(self, change: TwinChange, now: datetime) -> Self:
        """Apply what a service wants.

        Raises:
            ArgumentInvalid: a rule about keys, values or sizes is broken.
        """
        if change.is_replacement:
            return self._changed(change.tags or {}, change.desired or {}, now, is_replacement=True)
        return self._changed(change.tags, change.desired, now, is_replacement=False)

    def reported_patched(self, patch: Mapping[str, Any], now: datetime) -> Self:
        """Apply what the device reports.

        Raises:
            ArgumentInvalid: a rule about keys, values or sizes is broken.
        """
        check_section(Section.REPORTED, patch)
        return replace(self, reported=self.reported.patched(Section.REPORTED, patch, now))

    def _changed(
        self, tags: Mapping[str, Any] | None, desired: Mapping[str, Any] | None, now: datetime, *, is_replacement: bool
    ) -> Self:
        twin = self
        if tags is not None:
            check_section(Section.TAGS, tags)
            merged = merge_patch({} if is_replacement else self.tags, tags)
            check_size(Section.TAGS, merged)
            twin = replace(twin, tags=merged)
        if desired is not None:
            values = {name: value for name, value in desired.items() if name not in READ_ONLY_MEMBERS}
            check_section(Section.DESIRED, values)
            write = self.desired.replaced if is_replacement else self.desired.patched
            twin = replace(twin, desired=write(Section.DESIRED, values, now))
        return twin if twin is self else replace(twin, revision=self.revision + 1)
