"""Faults as JSON objects, and as mappings of `hublet.yaml`."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import fields
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeVar

from emulator.faults.fault import MAX_SECONDS, STATUSES, Fault, FaultKind, FaultRefused, Operation, Phase

Member = TypeVar("Member", bound=StrEnum)
MAX_GLOB_CHARACTERS = 256
DEFAULTS: Mapping[str, Any] = MappingProxyType({each.name: each.default for each in fields(Fault)})


def parse_fault(document: object) -> Fault:
    """Read a fault, such as `{"kind": "throttled", "operation": "register", "nth": 1}`.

    `operation` is one name or a list of them.

    Raises:
        FaultRefused: a member is unknown, is not what it should be, or the members do not fit together.
    """
    if not isinstance(document, Mapping):
        raise FaultRefused(f"a fault is an object with at least a kind, not {_shown(document)}")
    for name in document:
        if name not in _MEMBERS:
            close = difflib.get_close_matches(str(name), _MEMBERS, n=1)
            hint = f", did you mean {close[0]!r}?" if close else ""
            raise FaultRefused(f"unknown member {str(name)[:40]!r}{hint} (known: {', '.join(_MEMBERS)})")
    if "kind" not in document:
        raise FaultRefused(f"kind is needed: one of {', '.join(FaultKind)}")
    members: dict[str, Any] = {}
    for name, value in document.items():
        field, parse = _MEMBERS[name]
        try:
            members[field] = parse(value)
        except FaultRefused as error:
            raise FaultRefused(f"{name} {error}") from None
    return Fault(**members)


def format_fault(fault: Fault) -> dict[str, Any]:
    """Write what `parse_fault` reads; members that are at their default are left out."""
    document: dict[str, Any] = {}
    for name, (field, _) in _MEMBERS.items():
        value = getattr(fault, field)
        if field == "operations":
            document[name] = [each.value for each in value]
        elif field == "kind" or value != DEFAULTS[field]:
            document[name] = value.value if isinstance(value, StrEnum) else value
    return document


def one_of(members: type[Member]) -> Callable[[object], Member]:
    """Make a parser of an enumeration's members."""

    def parse(value: object) -> Member:
        for member in members:
            if value == member.value:
                return member
        raise FaultRefused(f"must be one of {', '.join(members)}, not {_shown(value)}")

    return parse


def whole_number(lowest: int, highest: int) -> Callable[[object], int]:
    """Make a parser of whole numbers in a range, both ends included."""

    def parse(value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest:
            return value
        raise FaultRefused(f"must be a whole number from {lowest} to {highest}, not {_shown(value)}")

    return parse


def _number(lowest: float, highest: float) -> Callable[[object], float]:
    def parse(value: object) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool) and lowest <= value <= highest:
            return float(value)
        raise FaultRefused(f"must be a number from {lowest:g} to {highest:g}, not {_shown(value)}")

    return parse


def _glob(value: object) -> str:
    if isinstance(value, str) and 0 < len(value) <= MAX_GLOB_CHARACTERS:
        return value
    raise FaultRefused(f"must be a name or a glob of 1 to {MAX_GLOB_CHARACTERS} characters, not {_shown(value)}")


def _operations(value: object) -> tuple[Operation, ...]:
    values = value if isinstance(value, list | tuple) and value else [value]
    return tuple(dict.fromkeys(one_of(Operation)(each) for each in values))


def _status(value: object) -> int:
    if value in STATUSES and isinstance(value, int):
        return value
    raise FaultRefused(f"must be one of {', '.join(map(str, STATUSES))}, not {_shown(value)}")


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


_MEMBERS: Mapping[str, tuple[str, Callable[[object], Any]]] = MappingProxyType(
    {
        "kind": ("kind", one_of(FaultKind)),
        "operation": ("operations", _operations),
        "phase": ("phase", one_of(Phase)),
        "device": ("device", _glob),
        "service": ("service", _glob),
        "enrollment": ("enrollment", _glob),
        "nth": ("nth", whole_number(1, 1_000_000)),
        "probability": ("probability", _number(0, 1)),
        "seed": ("seed", whole_number(0, 2**63 - 1)),
        "limit": ("limit", whole_number(1, 1_000_000_000)),
        "seconds": ("seconds", _number(0, MAX_SECONDS)),
        "retryAfterSeconds": ("retry_after_seconds", whole_number(0, 300)),
        "status": ("status", _status),
    }
)
