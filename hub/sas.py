"""Shared access signature tokens: reading, checking and writing them, and deriving group device keys."""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote, unquote_to_bytes

PREFIX = "SharedAccessSignature "
MAX_TOKEN_CHARACTERS = 8192
MAX_EXPIRY_SECONDS = 253402300799  # 9999-12-31T23:59:59Z, the last second a datetime holds


class SasTokenError(ValueError):
    """The text is not a shared access signature token; the message names the field, never its value."""


class SasKeyError(ValueError):
    """A symmetric key is not base64; the message never shows it."""


@dataclass(frozen=True, slots=True)
class SasToken:
    """A token as read: `resource` and `expiry_text` are the raw texts the signature was made over."""

    resource: str
    signature: bytes = field(repr=False)
    expires_at: datetime
    expiry_text: str
    policy_name: str | None = None


def parse_sas_token(text: str) -> SasToken:
    """Read `SharedAccessSignature sr=…&sig=…&se=…[&skn=…]`, the fields in any order.

    `sig` and `skn` are percent-decoded, never form-decoded: `+` is data. Unknown fields are ignored.

    Raises:
        SasTokenError: no prefix, a field missing or twice, `sig` not base64, `se` not whole seconds up to the
            year 9999, or anything not ASCII.

    Source: authenticate-authorize-sas.md (documented); field order and encodings differ between SDKs (sdk).
    """
    if len(text) > MAX_TOKEN_CHARACTERS:
        raise SasTokenError(f"token has {len(text)} characters, more than {MAX_TOKEN_CHARACTERS}")
    if not text.startswith(PREFIX):
        raise SasTokenError("token does not start with 'SharedAccessSignature '")
    if not text.isascii():
        raise SasTokenError("token has a character that is not ASCII; percent-encode it")
    fields = _fields(text[len(PREFIX) :])
    for name in ("sr", "sig", "se"):
        if not fields.get(name):
            raise SasTokenError(f"token has no field {name!r}")
    policy_name = _unquote("skn", fields["skn"]) if fields.get("skn") else None
    return SasToken(fields["sr"], _signature(fields["sig"]), _expiry(fields["se"]), fields["se"], policy_name)


def _fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for part in text.split("&"):
        name, _, value = part.strip().partition("=")
        if name in fields:
            raise SasTokenError(f"token has the field {name[:16]!r} twice")
        fields[name] = value
    return fields


def _unquote(name: str, value: str) -> str:
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        raise SasTokenError(f"field {name!r} is not percent-encoded UTF-8") from None


def _signature(value: str) -> bytes:
    try:
        return base64.b64decode(unquote_to_bytes(value), validate=True)
    except binascii.Error:
        raise SasTokenError("field 'sig' is not percent-encoded base64") from None


def _expiry(value: str) -> datetime:
    if not (value.isascii() and value.isdigit()) or len(value) > len(str(MAX_EXPIRY_SECONDS)):
        raise SasTokenError("field 'se' is not a whole number of seconds since 1970")
    seconds = int(value)
    if seconds > MAX_EXPIRY_SECONDS:
        raise SasTokenError(f"field 'se' is {seconds}, later than {MAX_EXPIRY_SECONDS} (the year 9999)")
    return datetime.fromtimestamp(seconds, UTC)


def verify_sas_signature(token: SasToken, key_base64: str) -> bool:
    """Tell whether the token was signed with this key, comparing in constant time.

    The signature is over the raw `sr` as it stands in the token: SDKs differ in `%2F` and `%2f`.

    Raises:
        SasKeyError: the key is not base64.

    Source: authenticate-authorize-sas.md (documented).
    """
    expected = _sign(token.resource, token.expiry_text, key_base64)
    return hmac.compare_digest(expected, token.signature)


def format_sas_token(resource_raw: str, key_base64: str, expires_at: int, policy_name: str | None = None) -> str:
    """Write a token for a resource that is already encoded as it shall appear; `expires_at` is Unix seconds.

    Raises:
        SasKeyError: the key is not base64.
    """
    signature = base64.b64encode(_sign(resource_raw, str(expires_at), key_base64)).decode()
    token = f"{PREFIX}sr={resource_raw}&sig={quote(signature, safe='')}&se={expires_at}"
    return f"{token}&skn={quote(policy_name, safe='')}" if policy_name else token


def derive_device_key(group_key_base64: str, registration_id: str) -> str:
    """Derive the key of one device from the key of its enrollment group, as base64.

    Raises:
        SasKeyError: the group key is not base64.

    Source: concepts-symmetric-key-attestation.md (documented).
    """
    digest = hmac.digest(_decode_key(group_key_base64), registration_id.encode(), hashlib.sha256)
    return base64.b64encode(digest).decode()


def _sign(resource: str, expiry: str, key_base64: str) -> bytes:
    return hmac.digest(_decode_key(key_base64), f"{resource}\n{expiry}".encode(), hashlib.sha256)


def _decode_key(key_base64: str) -> bytes:
    try:
        return base64.b64decode(key_base64, validate=True)
    except ValueError:
        raise SasKeyError("a symmetric key is not base64") from None
