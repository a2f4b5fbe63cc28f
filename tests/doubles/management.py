"""The management API without sockets: requests as they are read, answers as they are written."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from adr.registry import AdrRegistry
from adr.store import StoreError
from broker.gateway import Action
from certs.keyfile import MemoryKeyStore
from dps.service import DpsSettings, ProvisioningService
from emulator.adr_rest.api import Answer, ArmRest, Received
from emulator.adr_service import AdrService
from emulator.store import SqliteStore
from hub.hub import Hub, HubSettings

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
FIRST, SECOND, DRAFT = "2026-03-01-preview", "2026-11-02-preview", "2026-11-01-preview"
SCOPE = "/subscriptions/s1/resourceGroups/g1/providers/Microsoft.DeviceRegistry"


@dataclass
class ManagementHouse:
    """A device registry with two hubs and a DPS; it stands in the place of the delivery too."""

    store: SqliteStore = field(default_factory=lambda: SqliteStore(":memory:"))
    now: datetime = NOW
    performed: list[Action] = field(default_factory=list)
    commit_fails: bool = False
    allow_short_validity: bool = False

    def __post_init__(self) -> None:
        self.adr = AdrRegistry(self.store, MemoryKeyStore(), allow_short_validity=self.allow_short_validity)
        self.adr.create_namespace("works", NOW)
        self.adr.create_policy("works", "plant-1", NOW)
        self.hubs = [
            Hub(HubSettings(name="hub1", host_name="hub1.example", namespace="works"), self.store, self.adr),
            Hub(HubSettings(name="hub2", host_name="hub2.example"), self.store, self.adr),
        ]
        settings = DpsSettings(name="dps1", id_scope="0ne00000001", host_names=("dps.example",), namespace="works")
        self.dps = ProvisioningService(settings, self.store, self.adr, {"hub1.example": self.hubs[0]})
        self.service = AdrService(self.adr, self.hubs, [self.dps])
        self.rest = ArmRest(self.service, self.store, self, lambda: self.now)
        self.store.commit()

    def perform(self, actions: Sequence[Action]) -> None:
        self.performed += actions

    async def committed(self) -> None:
        if self.commit_fails:
            raise StoreError("disk full")
        self.store.commit()

    async def ask(
        self, method: str, path: str, document: Any = None, *, version: str = FIRST, body: bytes = b""
    ) -> tuple[int, Any]:
        """Make a request to a path below the provider; return status and document."""
        answer = await self.answer(method, f"{SCOPE}/{path}?api-version={version}", document, body=body)
        return answer.status, json.loads(answer.body) if answer.body else None

    async def answer(
        self, method: str, path: str, document: Any = None, *, body: bytes = b"", **changes: Any
    ) -> Answer:
        """Make a request to a whole path; `changes` are of what is received."""
        content = body if document is None else json.dumps(document).encode()
        fields = {"headers": {"authorization": "Bearer x"}, "body": content, **changes}
        return await self.rest.answer(Received(method, path, **fields))
