"""Sorts the reasons of refused connections, which name devices and dates, into the few kinds that a metric can count.

Editing rules: a row is a kind and what its texts have in common; the first row that fits wins, so those that a client's
own text could imitate come last. A test finds every refusal in the code that no row fits.
"""

import re
from typing import Final

OTHER: Final = "other"

_ROWS: Final[tuple[tuple[str, str], ...]] = (
    ("unknown_service", r"^no (?:hub has the host name|DPS instance has the ID scope)|^user name .* is neither"),
    ("protocol", r"protocol (?:level|version|name)"),
    ("no_credential", r"presents? no SAS token|presented no certificate"),
    ("revoked", r"was revoked|is revoked|was issued by generation"),
    ("disabled", r"^device \S+ is disabled in"),
    ("not_registered", r"is not registered in|^device \S+ has no module|no policy in"),
    ("expired", r"expired at"),
    ("not_yet_valid", r"is not valid before"),
    ("local_auth_disabled", r"refuses tokens of"),
    ("wrong_credential_type", r"is registered with"),
    ("wrong_signature", r"is not signed with a key|is signed with neither key|^(?:\S+: )?the signature of"),
    ("wrong_resource", r"^SAS token is for|no right DeviceConnect|has no shared access policy"),
    ("malformed_credential", r"is not a SAS token|cannot be read|is malformed|cannot be checked"),
    ("wrong_certificate", r"Thumbprint does not match"),
    ("untrusted_issuer", r"not trusted|was issued by|is not a CA|has no valid path"),
    ("wrong_device", r"common name|must be exactly|is for device"),
    ("unsuitable_certificate", r"path length|intermediates were presented|version 1|trust anchor|key usage|suitable"),
    ("wrong_client_id", r"client ID"),
    ("wrong_scope", r"ID scope"),
    ("wrong_will", r"^will |will topic|will with QoS"),
    ("malformed_user_name", r"user name|registration ID|api-version"),
)
_KINDS: Final = tuple((kind, re.compile(pattern)) for kind, pattern in _ROWS)
KINDS: Final = (*(kind for kind, _ in _ROWS), OTHER)


def refusal_reason(text: str) -> str:
    """Name the kind of a refusal, one of `KINDS`."""
    for kind, pattern in _KINDS:
        if pattern.search(text):
            return kind
    return OTHER
