"""The scalars of a configuration: one parser for each, whose ValueError names the value and what is allowed."""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, TypeVar

from cryptography import x509
from pydantic import ValidationInfo

from adr.errors import AdrError
from certs.extensions import extension_of
from certs.pem import parse_pem_certificates
from dps.attestation_mechanism import MAX_KEY_BYTES, MIN_KEY_BYTES
from dps.registration_id import is_registration_id
from emulator.faults.fault import Fault
from emulator.faults.fault_json import parse_fault
from hub.errors import HubError
from hub.identity import NEVER, check_device_id
from hub.twin_json import parse_initial_twin

DEV_CA: Literal["dev-ca"] = "dev-ca"

# The store's tables of other rooms begin with these.
RESERVED_HUB_NAMES = ("adr", "dps", "emulator")
HUB_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{1,48}[A-Za-z0-9])")
DPS_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{1,62}[A-Za-z0-9])")
ID_SCOPE = re.compile(r"0ne[0-9A-Fa-f]{8}")
HOST_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")

Choice = TypeVar("Choice", bound=StrEnum)
Element = TypeVar("Element")


@dataclass(frozen=True, slots=True)
class CertificateFile:
    """A PEM file that the configuration names, with what was in it."""

    path: Path
    certificates: tuple[x509.Certificate, ...]


def whole_number(lowest: int, highest: int) -> Callable[[object], int]:
    """Make a parser of whole numbers in a range, both ends included."""

    def parse(value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest:
            return value
        raise ValueError(f"must be a whole number from {lowest} to {highest}, not {_shown(value)}")

    return parse


def number(lowest: float, highest: float) -> Callable[[object], float]:
    """Make a parser of numbers in a range, both ends included."""

    def parse(value: object) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool) and lowest <= value <= highest:
            return value
        raise ValueError(f"must be a number from {lowest:g} to {highest:g}, not {_shown(value)}")

    return parse


def flag(value: object) -> bool:
    """Read true or false."""
    if isinstance(value, bool):
        return value
    raise ValueError(f"must be true or false, not {_shown(value)}")


def choice(*members: Choice) -> Callable[[object], Choice]:
    """Make a parser of these members of an enumeration."""

    def parse(value: object) -> Choice:
        for member in members:
            if value == member.value:
                return member
        raise ValueError(f"must be one of {', '.join(members)}, not {_shown(value)}")

    return parse


def switch(*members: Choice) -> Callable[[object], Choice]:
    """Make a parser of members of which one is `off`, which YAML takes for false."""
    parse = choice(*members)

    def parse_switch(value: object) -> Choice:
        return parse("off" if value is False else value)

    return parse_switch


def fault(value: object) -> Fault:
    """Read a fault; its keys are written like the others of the file."""
    if isinstance(value, dict):
        value = {"retryAfterSeconds" if key == "retry_after_seconds" else key: item for key, item in value.items()}
    return parse_fault(value)


def at_least_one(values: tuple[str, ...]) -> tuple[str, ...]:
    """Check that a list is not empty."""
    if not values:
        raise ValueError("must have at least one element")
    return values


def at_most(limit: int) -> Callable[[tuple[Element, ...]], tuple[Element, ...]]:
    """Make a check that a list has no more elements than this."""

    def check(values: tuple[Element, ...]) -> tuple[Element, ...]:
        if len(values) > limit:
            raise ValueError(f"must have at most {limit} elements, not {len(values)}")
        return values

    return check


def text(value: object) -> str:
    """Read a text that is not empty."""
    if isinstance(value, str) and value:
        return value
    quote = ": write it in quotes" if isinstance(value, int | float) else ""
    raise ValueError(f"must be a text, not {_shown(value)}{quote}")


def name_of(parse: Callable[[str], str]) -> Callable[[object], str]:
    """Make a parser of a resource's name from the rule that its room has for it."""

    def parse_name(value: object) -> str:
        try:
            return parse(text(value))
        except AdrError as error:
            raise ValueError(str(error)) from error

    return parse_name


def hub_name(value: object) -> str:
    """Read the name of a hub: 3 to 50 letters, digits and inner hyphens.

    Source: azure-resource-manager resource-name-rules.md, Microsoft.Devices (documented).
    """
    name = text(value)
    if not HUB_NAME.fullmatch(name):
        raise ValueError("a hub's name has 3 to 50 letters, digits and hyphens, no hyphen first or last")
    if name.lower() in RESERVED_HUB_NAMES:
        raise ValueError(f"no hub may be called {', '.join(RESERVED_HUB_NAMES)}")
    return name


def dps_name(value: object) -> str:
    """Read the name of a DPS: 3 to 64 letters, digits and inner hyphens.

    Source: azure-resource-manager resource-name-rules.md, Microsoft.Devices (documented).
    """
    name = text(value)
    if not DPS_NAME.fullmatch(name):
        raise ValueError("a DPS's name has 3 to 64 letters, digits and hyphens, no hyphen first or last")
    return name


def registration_id(value: object) -> str:
    """Read a registration ID or an enrollment group's ID."""
    name = text(value)
    if not is_registration_id(name):
        raise ValueError("an ID has 1 to 128 letters, digits and -._: and ends in a letter, a digit or a dash")
    return name


def device_id(value: object) -> str:
    """Read a device ID."""
    name = text(value)
    try:
        check_device_id(name)
    except HubError as error:
        raise ValueError(str(error)) from error
    return name


def initial_twin(value: object) -> dict[str, Any]:
    """Read the twin that a device starts with: `{tags, properties: {desired}}`, both optional."""
    if not isinstance(value, dict) or not set(value) <= {"tags", "properties"}:
        found = ", ".join(map(str, value))[:60] if isinstance(value, dict) else _shown(value)
        raise ValueError(f"must be a mapping with tags and properties.desired, not {found}")
    try:
        parse_initial_twin(value, NEVER)
        twin: dict[str, Any] = json.loads(json.dumps(value))
    except (HubError, TypeError, ValueError) as error:
        raise ValueError(f"is no twin: {error}") from error
    return twin


def id_scope(value: object) -> str:
    """Read an ID scope: `0ne` and eight hex digits."""
    scope = text(value)
    if not ID_SCOPE.fullmatch(scope):
        raise ValueError(f"must be 0ne and eight hex digits, such as 0ne0012ABCD, not {scope!r}")
    return scope


def host_name(value: object) -> str:
    """Read a host name or an IP address, in lower case."""
    name = text(value).lower()
    labels = name.split(".")
    if _is_address(name) or (len(name) <= 253 and all(HOST_LABEL.fullmatch(label) for label in labels)):
        return name
    raise ValueError(f"must be a host name such as hub1.localhost or an IP address, not {name!r}")


def address(value: object) -> str:
    """Read an IP address to listen on."""
    name = text(value)
    if not _is_address(name):
        raise ValueError(f"must be an IP address such as 127.0.0.1 or 0.0.0.0, not {name!r}")
    return name


def symmetric_key(value: object) -> str:
    """Read a symmetric key, base64 of 16 to 64 bytes; no message shows it.

    Source: concepts-symmetric-key-attestation.md (documented); the range is assumed.
    """
    try:
        size = len(base64.b64decode(value, validate=True)) if isinstance(value, str) else 0
    except (binascii.Error, ValueError):
        size = 0
    if not MIN_KEY_BYTES <= size <= MAX_KEY_BYTES:
        raise ValueError(f"must be base64 of {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes (the value is not shown)")
    return str(value)


def signing_ca(value: object, info: ValidationInfo) -> CertificateFile | Literal["dev-ca"]:
    """Read the CA of an enrollment group: `dev-ca`, or a PEM file with one or two CA certificates."""
    if value == DEV_CA:
        return DEV_CA
    file = _certificate_file(text(value), info, most=2)
    for certificate in file.certificates:
        constraints = extension_of(certificate, x509.BasicConstraints)
        if constraints is None or not constraints.ca:
            subject = certificate.subject.rfc4514_string()
            raise ValueError(f"{file.path} holds {subject}, which is not a CA certificate (basicConstraints CA:TRUE)")
    return file


def client_certificate(value: object, info: ValidationInfo) -> CertificateFile:
    """Read the certificate of one device: a PEM file with one certificate, or two to roll over."""
    return _certificate_file(text(value), info, most=2)


def _certificate_file(name: str, info: ValidationInfo, most: int) -> CertificateFile:
    context: Mapping[str, Any] = info.context or {}
    path = context.get("directory", Path()) / name
    try:
        certificates = parse_pem_certificates(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError:
        raise ValueError(f"{path} holds no certificate in PEM") from None
    if len(certificates) > most:
        raise ValueError(f"{path} holds {len(certificates)} certificates: a primary and a secondary are allowed")
    return CertificateFile(path, certificates)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _shown(value: object) -> str:
    """Show a value as it was written, kept short."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
