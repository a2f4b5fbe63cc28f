"""Namespaces: what devices, one credential and its policies belong to."""

import json
import re
from dataclasses import dataclass
from datetime import datetime

from adr.errors import NameInvalid

NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,62}[a-z0-9])")


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace of the device registry; hubs and DPS instances are linked to it by name."""

    name: str
    created: datetime


def parse_namespace_name(text: str) -> str:
    """Check a namespace's name and return it.

    Raises:
        NameInvalid: not 3 to 64 lower-case letters, digits and inner hyphens.

    Source: azure-rest-api-specs Microsoft.DeviceRegistry namespaces (documented).
    """
    if not NAME.fullmatch(text):
        raise NameInvalid(
            f"namespace name {text!r} is not allowed: 3 to 64 lower-case letters, digits and hyphens, "
            "no hyphen first or last"
        )
    return text


def format_namespace(namespace: Namespace) -> str:
    """Write a namespace as the JSON text that is stored under its name."""
    return json.dumps({"created": namespace.created.isoformat()})


def parse_namespace(name: str, text: str) -> Namespace:
    """Read a stored namespace."""
    return Namespace(name, datetime.fromisoformat(json.loads(text)["created"]))
