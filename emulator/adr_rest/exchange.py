"""One request as the handlers see it, and what they answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from adr.registry import AdrRegistry
from adr.store import Store
from emulator.adr_rest.body import Body
from emulator.adr_rest.envelopes import LOCATION, Envelope, Envelopes, describe_resource
from emulator.adr_rest.errors import invalid
from emulator.adr_service import AdrService

MAX_TAGS = 50


@dataclass(frozen=True, slots=True)
class ArmRequest:
    """A request to the management API, its path taken apart.

    `base` is scheme and host as the client has them. `scope` is the resource group's path, or the subscription's;
    neither matters, as an emulator has one of each.
    """

    service: AdrService
    store: Store
    base: str
    scope: str
    parameters: Mapping[str, str]
    query: Mapping[str, str]
    body: Body
    api_version: str
    now: datetime

    @property
    def adr(self) -> AdrRegistry:
        """The device registry."""
        return self.service.adr

    @property
    def namespace(self) -> str:
        """The namespace in the path; ARM compares names without case, namespaces have lower-case ones."""
        return self.parameters["namespace"].lower()

    @property
    def envelopes(self) -> Envelopes:
        """Locations and tags."""
        return Envelopes(self.store)

    def read_envelope(self, path: str) -> Envelope:
        """Take location and tags from the body; what it does not say stays as it is.

        Raises:
            ArmError: they are malformed.
        """
        present = self.envelopes.get(path)
        tags = self.body.texts("tags") if "tags" in self.body else present.tags
        if len(tags) > MAX_TAGS:
            raise invalid(f"tags has {len(tags)} members: at most {MAX_TAGS} are accepted")
        location = self.body.text("location")
        return Envelope(location or present.location or LOCATION, tags)

    def resource(self, path: str, properties: dict[str, Any], *, etag: str = "") -> dict[str, Any]:
        """Write a resource with the envelope it was made with."""
        return describe_resource(self.scope, path, properties, self.envelopes.get(path), etag=etag)


@dataclass(frozen=True, slots=True)
class ArmReply:
    """An answer; `operation_on` is the path of the resource that a long-running operation is about."""

    status: int = 200
    document: dict[str, Any] | None = None
    operation_on: str | None = None


def page(documents: list[dict[str, Any]], next_link: str | None = None) -> ArmReply:
    """Answer with a list, and the whole URL where it goes on.

    Source: azure-rest-api-specs common types, nextLink is of format `uri` (documented).
    """
    more = {"nextLink": next_link} if next_link else {}
    return ArmReply(200, {"value": documents, **more})


def written(document: dict[str, Any], path: str, *, created: bool) -> ArmReply:
    """Answer a PUT: 201 for a new resource, 200 for one that was there, both as a long-running operation."""
    return ArmReply(201 if created else 200, document, path)


def format_time(moment: datetime) -> str:
    """Write a moment as ARM does."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
