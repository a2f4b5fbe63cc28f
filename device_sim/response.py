"""The JSON bodies of DPS and the hub: objects, members of the right kind, error bodies and issued chains."""

import base64
import binascii
import json
from functools import lru_cache
from typing import Any

from cryptography import x509

from device_sim.errors import UnexpectedResponse

# Azure issues two or three; more than this is not a chain. Source: assumed.
MAX_CHAIN_LENGTH = 8


def parse_object(payload: bytes) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UnexpectedResponse: the payload is something else.
    """
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        raise UnexpectedResponse(f"a body of {len(payload)} bytes is not JSON") from None
    if not isinstance(value, dict):
        raise UnexpectedResponse(f"a body is a JSON {type(value).__name__}, not an object")
    return value


def text_of(body: dict[str, Any], name: str) -> str:
    """Read a member that is a text; an absent or null one is an empty text.

    Raises:
        UnexpectedResponse: the member is something else.
    """
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UnexpectedResponse(f"the member {name!r} is a {type(value).__name__}, not a text")
    return value


def object_of(body: dict[str, Any], name: str) -> dict[str, Any]:
    """Read a member that is an object; an absent or null one is an empty object.

    Raises:
        UnexpectedResponse: the member is something else.
    """
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UnexpectedResponse(f"the member {name!r} is a {type(value).__name__}, not an object")
    return value


def number_of(body: dict[str, Any], name: str, default: int) -> int:
    """Read a member that is a whole number from 0 on, or return the default for an absent or null one.

    Raises:
        UnexpectedResponse: the member is something else.
    """
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UnexpectedResponse(f"the member {name!r} is not a whole number from 0 on")
    return value


def chain_of(body: dict[str, Any], name: str) -> tuple[x509.Certificate, ...]:
    """Read an issued chain: base64 DER certificates, leaf first; an absent or null one is empty.

    Raises:
        UnexpectedResponse: the member is no such list.

    Source: azure-rest-api-specs DPS device models (documented).
    """
    value = body.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_CHAIN_LENGTH:
        raise UnexpectedResponse(f"the member {name!r} is not a list of at most {MAX_CHAIN_LENGTH} certificates")
    return tuple(_certificate(item, name) for item in value)


@lru_cache(maxsize=16)
def _load(text: str) -> x509.Certificate:
    """Read a certificate; the issuing CAs come with every device's leaf, and are read once."""
    return x509.load_der_x509_certificate(base64.b64decode(text, validate=True))


def _certificate(item: object, name: str) -> x509.Certificate:
    if not isinstance(item, str):
        raise UnexpectedResponse(f"the member {name!r} holds a {type(item).__name__}, not a base64 text")
    try:
        return _load(item)
    except (ValueError, binascii.Error, x509.InvalidVersion):
        raise UnexpectedResponse(f"the member {name!r} holds a text that is not a base64 DER certificate") from None
