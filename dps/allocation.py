"""Allocation policies: which of the linked hubs a device goes to."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType

from dps.errors import NoHubAvailable


class AllocationPolicy(StrEnum):
    """How the hub is chosen; `custom` (a webhook) is not offered yet."""

    HASHED = "hashed"
    GEO_LATENCY = "geoLatency"
    STATIC = "static"
    CUSTOM = "custom"


def choose_hub(policy: AllocationPolicy, hubs: Sequence[str], registration_id: str) -> str:
    """Choose one of the hubs (host names) that the enrollment allows; the same question gets the same answer.

    Raises:
        NoHubAvailable: there is none to choose from, or the policy is not offered.

    Source: how-to-use-allocation-policies.md (documented); the hash, and equal latencies, are assumed.
    """
    if not hubs:
        raise NoHubAvailable("no linked IoT hub is left to allocate to")
    choose = CHOOSERS.get(policy)
    if choose is None:
        raise NoHubAvailable(f"allocation policy {policy} is not offered")
    return choose(hubs, registration_id)


def _first(hubs: Sequence[str], registration_id: str) -> str:  # noqa: ARG001 - the chooser's signature
    return hubs[0]


def _hashed(hubs: Sequence[str], registration_id: str) -> str:
    """Rendezvous hashing: when a hub is added, only the devices that go to it move."""
    if len(hubs) == 1:
        return hubs[0]
    key = registration_id.lower()
    return max(hubs, key=lambda hub: hashlib.sha256(f"{key}\n{hub}".encode()).digest())


CHOOSERS: Mapping[AllocationPolicy, Callable[[Sequence[str], str], str]] = MappingProxyType(
    {
        AllocationPolicy.HASHED: _hashed,
        # All hubs of one process are equally near.
        AllocationPolicy.GEO_LATENCY: _hashed,
        AllocationPolicy.STATIC: _first,
    }
)
