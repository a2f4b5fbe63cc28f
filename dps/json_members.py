"""Reading typed members of a JSON object that somebody else wrote."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

from dps.errors import BadRequest, DeserializationError

JsonObject = dict[str, Any]
Choice = TypeVar("Choice", bound=StrEnum)


def require_object(value: object, name: str) -> JsonObject:
    """Return the value if it is a JSON object.

    Raises:
        DeserializationError: it is not.
    """
    if not isinstance(value, dict):
        raise DeserializationError(f"{name} is not a JSON object")
    return value


def optional_object(document: JsonObject, name: str) -> JsonObject | None:
    """Read an object; None when the member is absent or null.

    Raises:
        DeserializationError: the member is something else.
    """
    value = document.get(name)
    return None if value is None else require_object(value, name)


def optional_text(document: JsonObject, name: str) -> str | None:
    """Read a text; None when the member is absent or null.

    Raises:
        DeserializationError: the member is something else.
    """
    value = document.get(name)
    if value is not None and not isinstance(value, str):
        raise DeserializationError(f"{name} is not a text")
    return value


def require_text(document: JsonObject, name: str) -> str:
    """Read a text that must be there and not empty.

    Raises:
        BadRequest: it is absent, null or empty.
        DeserializationError: the member is something else.
    """
    value = optional_text(document, name)
    if not value:
        raise BadRequest(f"{name} is required")
    return value


def optional_flag(document: JsonObject, name: str, *, default: bool) -> bool:
    """Read a boolean.

    Raises:
        DeserializationError: the member is something else.
    """
    value = document.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise DeserializationError(f"{name} is not true or false")
    return value


def optional_texts(document: JsonObject, name: str) -> tuple[str, ...]:
    """Read an array of texts; empty when the member is absent or null.

    Raises:
        DeserializationError: the member is something else.
    """
    value = document.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DeserializationError(f"{name} is not an array of texts")
    return tuple(value)


def optional_choice(document: JsonObject, name: str, choices: Callable[[str], Choice]) -> Choice | None:
    """Read one of the values of an enum.

    Raises:
        BadRequest: it is none of them.
        DeserializationError: the member is not a text.
    """
    value = optional_text(document, name)
    if value is None:
        return None
    try:
        return choices(value)
    except ValueError:
        raise BadRequest(f"{name} has the unknown value {value[:64]!r}") from None
