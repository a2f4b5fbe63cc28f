"""Credential policies: an issuing CA (ICA) under the namespace's root, and how long its leaves live."""

import json
import re
from base64 import b64decode
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

from adr.errors import NameInvalid, ValidityOutOfRange
from certs.pem import format_base64_der

NAME = re.compile(r"[0-9a-zA-Z][a-zA-Z0-9-]{2,49}")
DEFAULT_LEAF_VALIDITY = timedelta(days=30)
SHORTEST_LEAF_VALIDITY = timedelta(days=7)
LONGEST_LEAF_VALIDITY = timedelta(days=90)
SHORTEST_TEST_LEAF_VALIDITY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Policy:
    """A credential policy. Its name compares without case, as all ARM names do.

    `generation` counts the ICAs this policy has had, from 1: each has its own private key. `former` are the
    certificates of earlier ones that hubs still trust, because leaves of theirs may still be valid.
    """

    namespace: str
    name: str
    leaf_validity: timedelta
    certificate: x509.Certificate
    generation: int
    created: datetime
    former: tuple[x509.Certificate, ...] = ()

    @property
    def trusted(self) -> tuple[x509.Certificate, ...]:
        """The ICAs whose leaves hubs accept: the present one first."""
        return self.certificate, *self.former

    @property
    def key_name(self) -> str:
        """Name of the ICA's private key in the key store."""
        return f"{self.namespace}.{self.name.lower()}.{self.generation}"


def parse_policy_name(text: str) -> str:
    """Check a policy's name and return it.

    Raises:
        NameInvalid: not 3 to 50 letters, digits and hyphens, or a hyphen first.

    Source: concepts-certificate-policy-management.md; the REST specification allows 63 (documented).
    """
    if not NAME.fullmatch(text):
        raise NameInvalid(f"policy name {text!r} is not allowed: 3 to 50 letters, digits and hyphens, no hyphen first")
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
            "certificate": format_base64_der(policy.certificate),
            "generation": policy.generation,
            "created": policy.created.isoformat(),
            "former": [format_base64_der(each) for each in policy.former],
        }
    )


def parse_policy(key: str, text: str) -> Policy:
    """Read a stored policy."""
    fields = json.loads(text)
    return Policy(
        namespace=key.partition("/")[0],
        name=fields["name"],
        leaf_validity=timedelta(seconds=fields["leafValiditySeconds"]),
        certificate=x509.load_der_x509_certificate(b64decode(fields["certificate"])),
        generation=fields["generation"],
        created=datetime.fromisoformat(fields["created"]),
        former=tuple(x509.load_der_x509_certificate(b64decode(each)) for each in fields.get("former", ())),
    )


def policy_key(namespace: str, name: str) -> str:
    """Return the key a policy is stored under."""
    return f"{namespace}/{name.lower()}"
