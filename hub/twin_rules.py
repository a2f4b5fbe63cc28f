"""What may stand in a twin: one table of limits, one of what each kind of value must keep.

Rules for editing: a limit is a row of `MAX_SECTION_BYTES` or a constant here; a rule about a kind of value is a row
of `VALUE_RULES`. Source of all of them: iot-hub-devguide-device-twins.md (documented) and live probes (observed).
"""

import math
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

from hub.errors import ArgumentInvalid


class Section(StrEnum):
    """The parts of a twin that hold values."""

    TAGS = "tags"
    DESIRED = "desired"
    REPORTED = "reported"


MAX_SECTION_BYTES: Final[Mapping[Section, int]] = {
    Section.TAGS: 8 * 1024,
    Section.DESIRED: 32 * 1024,
    Section.REPORTED: 32 * 1024,
}
MAX_KEY_BYTES: Final = 1024
MAX_STRING_BYTES: Final = 4096
MAX_DEPTH: Final = 10
MIN_INTEGER, MAX_INTEGER = -(2**52), 2**52 - 1
NUMBER_BYTES, BOOLEAN_BYTES = 8, 4
FORBIDDEN_IN_KEYS = re.compile(r"[.$# \x00-\x1f\x7f-\x9f]")
# A caller may send back what it was shown: these members of a section are dropped. Source: az iot hub (sdk).
READ_ONLY_MEMBERS: Final = frozenset({"$metadata", "$version"})


def check_section(section: Section, value: object) -> None:
    """Check a section, or a patch of one, but for its size: an object, with good keys and values at most 10 deep.

    Arrays count as a level (assumed).

    Raises:
        ArgumentInvalid: a rule is broken; the message names the place.
    """
    if not isinstance(value, Mapping):
        raise ArgumentInvalid(f"{section} must be a JSON object, not {_shown(value)}")
    _check_object(section.value, value, 0)


def check_size(section: Section, value: Mapping[str, Any]) -> None:
    """Check the size of a whole section.

    Raises:
        ArgumentInvalid: it is over the limit.
    """
    size, limit = size_of(value), MAX_SECTION_BYTES[section]
    if size > limit:
        raise ArgumentInvalid(f"{section} would have {size} bytes, it may have {limit}")


def size_of(value: object) -> int:
    """Count a value as the service does, in bytes: keys and strings in UTF-8, 8 for a number, 4 for a boolean."""
    if isinstance(value, Mapping):
        return sum(len(name.encode()) + size_of(member) for name, member in value.items())
    if isinstance(value, list):
        return sum(size_of(element) for element in value)
    if isinstance(value, str):
        return len(value.encode())
    return BOOLEAN_BYTES if isinstance(value, bool) else NUMBER_BYTES


def _check_object(place: str, value: Mapping[str, Any], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ArgumentInvalid(f"{place[:200]} lies {depth} levels deep, {MAX_DEPTH} are allowed")
    for name, member in value.items():
        _check_key(place, name)
        if member is not None:
            _check_value(f"{place}.{name}", member, depth)


def _check_array(place: str, value: list[Any], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ArgumentInvalid(f"{place[:200]} lies {depth} levels deep, {MAX_DEPTH} are allowed")
    for number, element in enumerate(value):
        if element is None:
            raise ArgumentInvalid(f"{place[:200]}[{number}] is null: an array holds none")
        _check_value(f"{place}[{number}]", element, depth)


def _check_value(place: str, value: object, depth: int) -> None:
    VALUE_RULES[type(value)](place, value, depth + 1)


def _check_key(place: str, name: str) -> None:
    if _utf8_length(name) > MAX_KEY_BYTES:
        raise ArgumentInvalid(f"a key in {place[:200]} is longer than {MAX_KEY_BYTES} bytes")
    found = FORBIDDEN_IN_KEYS.search(name)
    if found is not None:
        raise ArgumentInvalid(f"key {name[:80]!r} in {place[:200]} has the character {found.group()!r} in it")


def _check_string(place: str, value: str, _depth: int) -> None:
    if _utf8_length(value) > MAX_STRING_BYTES:
        raise ArgumentInvalid(f"{place[:200]} is a string of over {MAX_STRING_BYTES} bytes")


def _check_integer(place: str, value: int, _depth: int) -> None:
    if not MIN_INTEGER <= value <= MAX_INTEGER:
        raise ArgumentInvalid(f"{place[:200]} is an integer outside {MIN_INTEGER}…{MAX_INTEGER}")


def _check_float(place: str, value: float, _depth: int) -> None:
    if not math.isfinite(value):
        raise ArgumentInvalid(f"{place[:200]} is a number that no IEEE double holds")


def _check_nothing(_place: str, _value: object, _depth: int) -> None:
    """A boolean is always good."""


VALUE_RULES: Final[Mapping[type, Callable[[str, Any, int], None]]] = {
    dict: _check_object,
    list: _check_array,
    str: _check_string,
    bool: _check_nothing,
    int: _check_integer,
    float: _check_float,
}


def _utf8_length(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise ArgumentInvalid(f"{text[:40]!r} has half a surrogate pair in it, which is no UTF-8") from None


def _shown(value: object) -> str:
    return "null" if value is None else type(value).__name__
