"""JSON that comes from outside: a device's payload, or the body of a service request."""

import json
from collections.abc import Callable
from typing import Any, NoReturn

from hub.errors import ArgumentInvalid, IotHubFormatError


def parse_json(body: bytes, *, parse_float: Callable[[str], float] = float) -> Any:
    """Read a JSON text in UTF-8; a number that is too large for a float becomes infinite, unless `parse_float` objects.

    Raises:
        IotHubFormatError: it is not JSON, not UTF-8, nested too deep to read, or has `NaN` or `Infinity` in it; or
            `parse_float` raised a ValueError.
    """
    try:
        return json.loads(body.decode(), parse_float=parse_float, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise IotHubFormatError(f"the body is not JSON in UTF-8: {error}") from None


def parse_json_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object in UTF-8.

    Raises:
        IotHubFormatError: it is not JSON.
        ArgumentInvalid: it is JSON, but no object.
    """
    value = parse_json(body)
    if not isinstance(value, dict):
        raise ArgumentInvalid(f"the body is a JSON {type(value).__name__}, it must be an object")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
