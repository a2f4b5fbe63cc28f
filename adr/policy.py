"""Credential policies: which issuing CA signs for a device, and how long its leaves live."""

import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from adr.errors import NameInvalid, ValidityOutOfRange

NAME = re.compile(r"[0-9a-zA-Z][a-zA-Z0-9-]{2,49}")
AUTHORITY_NAME = re.compile(r"[0-9a-zA-Z][a-zA-Z0-9-]{2,62}")
DEFAULT_LEAF_VALIDITY = timedelta(days=30)
SHORTEST_LEAF_VALIDITY = timedelta(days=7)
LONGEST_LEAF_VALIDITY = timedelta(days=90)
SHORTEST_TEST_LEAF_VALIDITY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Policy:
    """A credential policy: how long leaves live, and the certificate authority that signs them.

    Its name compares without case, as all ARM names do, and is unique in the namespace, whatever the authority: that
    is how enrollments name it (assumed).
    """

    namespace: str
    name: str
    leaf_validity: timedelta
    authority: str
    created: datetime


def parse_policy_name(text: str) -> str:
    """Check a policy's name and return it.

    Raises:
        NameInvalid: not 3 to 50 letters, digits and hyphens, or a hyphen first.

    Source: concepts-certificate-policy-management.md; the REST specification allows 63 (documented).
    """
    if not NAME.fullmatch(text):
        raise NameInvalid(f"policy name {text!r} is not allowed: 3 to 50 letters, digits and hyphens, no hyphen first")
    return text


def parse_authority_name(text: str) -> str:
    """Check a certificate authority's name and return it.

    Raises:
        NameInvalid: not 3 to 63 letters, digits and hyphens, or a hyphen first.

    Source: azure-rest-api-specs certificateAuthorities.tsp (documented).
    """
    if not AUTHORITY_NAME.fullmatch(text):
        raise NameInvalid(
            f"certificate authority name {text!r} is not allowed: 3 to 63 letters, digits and hyphens, no hyphen first"
        )
    return text


def check_leaf_validity(validity: timedelta, *, allow_short: bool) -> timedelta:
    """Check how long a policy's leaves shall live and return it.

    With `allow_short` any duration from a minute on passes, so that tests can watch certificates expire.

    Raises:
        ValidityOutOfRange: not a whole number of days from 7 to 90.

    Source: concepts-certificate-policy-management.md; other pages say 1 to 30 and 1 to 90 (documented).
    """
    if allow_short and SHORTEST_TEST_LEAF_VALIDITY <= validity <= LONGEST_LEAF_VALIDITY:
        return validity
    whole_days = validity % timedelta(days=1) == timedelta()
    if whole_days and SHORTEST_LEAF_VALIDITY <= validity <= LONGEST_LEAF_VALIDITY:
        return validity
    rule = "a minute to 90 days" if allow_short else "7 to 90 whole days"
    raise ValidityOutOfRange(f"leaf validity {validity} is not allowed: {rule}")


def format_policy(policy: Policy) -> str:
    """Write a policy as the JSON text that is stored under `policy_key`."""
    return json.dumps(
        {
            "name": policy.name,
            "leafValiditySeconds": policy.leaf_validity.total_seconds(),
            "authority": policy.authority,
            "created": policy.created.isoformat(),
        }
    )


def parse_policy(key: str, text: str) -> Policy:
    """Read a stored policy."""
    fields = json.loads(text)
    return Policy(
        namespace=key.partition("/")[0],
        name=fields["name"],
        leaf_validity=timedelta(seconds=fields["leafValiditySeconds"]),
        authority=fields["authority"],
        created=datetime.fromisoformat(fields["created"]),
    )


def policy_key(namespace: str, name: str) -> str:
    """Return the key a policy is stored under."""
    return f"{namespace}/{name.lower()}"
