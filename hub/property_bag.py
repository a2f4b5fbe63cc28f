"""The property bag at the end of a telemetry topic: names and values, percent-encoded."""

from collections.abc import Mapping
from urllib.parse import quote, unquote_to_bytes

PropertyBag = dict[str, str | None]


class PropertyBagError(ValueError):
    """The text is not a property bag; the message names the property."""


def parse_property_bag(text: str) -> PropertyBag:
    """Read `a=1&b=&c`: `b` is empty, `c` is None. Names and values are decoded (RFC 3986: `+` is data).

    One leading `?` is skipped, empty parts are skipped, a name that comes twice keeps its last value.

    Raises:
        PropertyBagError: a name is empty, or something is not percent-encoded UTF-8.

    Source: iot-mqtt-connect-to-iot-hub.md (documented); the last of two values wins (assumed).
    """
    bag: PropertyBag = {}
    for part in text.removeprefix("?").split("&"):
        name, equals, value = part.partition("=")
        if "%" in part:
            # Most encoded names are system properties, and the `$` is all that is encoded in them.
            name, value = _decode(name.replace("%24", "$")), _decode(value)
        if name:
            bag[name] = value if equals else None
        elif part:
            raise PropertyBagError(f"a property has the value {value[:40]!r} but no name")
    return bag


def format_property_bag(bag: Mapping[str, str | None]) -> str:
    """Write a bag; every character but letters, digits and `-._~` is encoded, the `$` of system properties too.

    Source: captures of every SDK and of the service (observed).
    """
    return "&".join(
        quote(name, safe="") if value is None else f"{quote(name, safe='')}={quote(value, safe='')}"
        for name, value in bag.items()
    )


def _decode(text: str) -> str:
    if "%" not in text:
        return text
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeError:
        raise PropertyBagError(f"{text[:40]!r} in the property bag is not percent-encoded UTF-8") from None
