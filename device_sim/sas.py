"""Shared access signatures: the tokens of a device with a symmetric key, and the keys of an enrollment group."""

import base64
import hmac
from datetime import datetime, timedelta
from urllib.parse import quote


def derive_device_key(group_key: str, registration_id: str) -> str:
    """Derive one device's key from its enrollment group's key; both base64.

    Raises:
        ValueError: the group key is not base64.

    Source: concepts-symmetric-key-attestation.md (documented).
    """
    return base64.b64encode(_sign(group_key, registration_id)).decode("ascii")


def format_sas_token(resource: str, key: str, expires_at: datetime, policy_name: str = "") -> str:
    """Write a token for a resource such as `{hub}/devices/{device ID}`, signed with a base64 key.

    Raises:
        ValueError: the key is not base64.

    Source: iot-hub-dev-guide-sas.md (documented).
    """
    encoded = quote(resource, safe="")
    expiry = int(expires_at.timestamp())
    signature = quote(base64.b64encode(_sign(key, f"{encoded}\n{expiry}")), safe="")
    token = f"SharedAccessSignature sr={encoded}&sig={signature}&se={expiry}"
    return f"{token}&skn={policy_name}" if policy_name else token


def format_dps_token(id_scope: str, registration_id: str, key: str, now: datetime, lifetime: timedelta) -> str:
    """Write the token that a device shows to DPS."""
    return format_sas_token(f"{id_scope}/registrations/{registration_id}", key, now + lifetime, "registration")


def format_hub_token(hub: str, device_id: str, key: str, now: datetime, lifetime: timedelta) -> str:
    """Write the token that a device shows to its hub."""
    return format_sas_token(f"{hub}/devices/{device_id}", key, now + lifetime)


def decode_key(key: str) -> bytes:
    """Give the bytes of a symmetric key.

    Raises:
        ValueError: it is not base64; the message does not repeat it.
    """
    try:
        return base64.b64decode(key, validate=True)
    except ValueError:
        raise ValueError("a symmetric key is not base64 (it is not shown)") from None


def _sign(key: str, text: str) -> bytes:
    return hmac.digest(decode_key(key), text.encode(), "sha256")
