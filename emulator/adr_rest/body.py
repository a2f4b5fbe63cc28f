"""Reads the members of a request's body: each by its type, refused with its place."""

import json
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

from emulator.adr_rest.errors import invalid

Kind = TypeVar("Kind")
_NAMES = {dict: "an object", str: "a string", bool: "true or false", int: "a whole number", list: "an array"}


class Body:
    """A JSON object and where it stands in the body; an absent member and `null` are the same."""

    def __init__(self, members: Mapping[str, Any], place: str = "") -> None:
        self.members = members
        self._place = place

    @classmethod
    def read(cls, text: bytes) -> "Body":
        """Read a body; an empty one is an empty object.

        Raises:
            ArmError: it is no JSON object.
        """
        try:
            value = json.loads(text.decode(), parse_constant=_refuse_constant) if text.strip() else {}
        except (ValueError, RecursionError) as error:
            raise invalid(f"the body is not JSON in UTF-8: {error}") from None
        if not isinstance(value, dict):
            raise invalid(f"the body is a JSON {type(value).__name__}: it must be an object")
        return cls(value)

    def __contains__(self, name: str) -> bool:
        return self.members.get(name) is not None

    def object(self, name: str) -> "Body":
        """Return a member that is an object; an empty one when it is absent.

        Raises:
            ArmError: it is something else.
        """
        return Body(self._get(name, dict) or {}, f"{self._path(name)}.")

    def text(self, name: str) -> str | None:
        """Return a member that is a string, None when it is absent.

        Raises:
            ArmError: it is something else, or no text that can be stored.
        """
        value = self._get(name, str)
        if value is not None and not value.isprintable() and "-----BEGIN" not in value:
            raise invalid(f"{self._path(name)} has characters that cannot be printed")
        return value

    def flag(self, name: str) -> bool | None:
        """Return a member that is true or false, None when it is absent.

        Raises:
            ArmError: it is something else.
        """
        return self._get(name, bool)

    def days(self, name: str) -> float | None:
        """Return a number of days, None when it is absent; a fraction is for the policy to judge.

        Raises:
            ArmError: it is no number.
        """
        value = self.members.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e6:
            raise invalid(f"{self._path(name)} must be a number of days")
        return float(value)

    def texts(self, name: str) -> dict[str, str]:
        """Return a member that is an object of strings, empty when it is absent.

        Raises:
            ArmError: it is something else.
        """
        value = self._get(name, dict) or {}
        for key, item in value.items():
            if not isinstance(item, str):
                raise invalid(f"{self._path(name)}.{key} must be a string")
        return dict(value)

    def refuse(self, name: str, why: str) -> NoReturn:
        """Refuse a member for a reason of the caller's.

        Raises:
            ArmError: always.
        """
        raise invalid(f"{self._path(name)} {why}")

    def _get(self, name: str, kind: type[Kind]) -> Kind | None:
        value = self.members.get(name)
        if value is None:
            return None
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise invalid(f"{self._path(name)} must be {_NAMES[kind]}")
        return value

    def _path(self, name: str) -> str:
        return f"{self._place}{name}"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
