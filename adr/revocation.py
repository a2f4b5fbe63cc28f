"""Revocations: which certificates a CA no longer stands by, and the lists that say so to others."""

import json
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from adr.authorities import Authorities
from adr.authority import IssuingCa
from adr.credential import Credential
from adr.store import Store, each_record
from certs.revocation_list import RevokedCertificate, issue_revocation_list

REVOCATIONS = "adr.revocations"
REVOCATION_LISTS = "adr.revocationLists"
# How long a list may be used, and how old one may get before the next is signed. Source: assumed.
LIST_VALIDITY = timedelta(days=1)
LIST_REFRESH = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Revocation:
    """One revoked certificate: `serial_number` in lower-case hex, `not_after` when it would have expired."""

    issuer_thumbprint: str
    serial_number: str
    revoked_at: datetime
    reason: x509.ReasonFlags
    not_after: datetime


@dataclass(frozen=True, slots=True)
class _SignedList:
    """The last list of a CA; `der` is empty when something was revoked since."""

    number: int
    signed_at: datetime
    der: bytes

    def is_fresh(self, now: datetime) -> bool:
        return bool(self.der) and self.signed_at <= now < self.signed_at + LIST_REFRESH


class Revocations:
    """Keeps revocations by the thumbprint of their issuer, and signs its lists when they are asked for."""

    def __init__(self, store: Store, authorities: Authorities) -> None:
        self._store = store
        self._authorities = authorities

    def add(self, revocation: Revocation) -> None:
        """Note a revocation; one that is there already keeps its time and reason. The next list has it."""
        key = f"{revocation.issuer_thumbprint}/{revocation.serial_number}"
        if self._store.get(REVOCATIONS, key) is not None:
            return
        self._store.put(REVOCATIONS, key, _format(revocation))
        last = self._last(revocation.issuer_thumbprint)
        if last is not None and last.der:
            self._put(revocation.issuer_thumbprint, _SignedList(last.number, last.signed_at, b""))

    def get(self, issuer_thumbprint: str, serial_number: str) -> Revocation | None:
        """Return the revocation of a certificate, None when it is not revoked."""
        record = self._store.get(REVOCATIONS, f"{issuer_thumbprint}/{serial_number}")
        return _parse(record.key, record.value) if record else None

    def of_issuer(self, issuer_thumbprint: str) -> list[Revocation]:
        """Return what one CA revoked, expired certificates too."""
        records = each_record(self._store, REVOCATIONS, f"{issuer_thumbprint}/")
        return [_parse(record.key, record.value) for record in records]

    def signed_list(self, issuer: Credential | IssuingCa, now: datetime) -> bytes:
        """Return the CA's revocation list in DER; the caller commits, then hands it out.

        It is signed anew when something was revoked, when it is an hour old, and when the clock went back. An entry
        leaves the list a day after its certificate expired (RFC 5280 §3.3).

        Raises:
            AuthorityNotActive, IssuerKeyMissing: the CA cannot sign.
        """
        last = self._last(issuer.thumbprint)
        if last is not None and last.is_fresh(now):
            return last.der
        number = 1 if last is None else last.number + 1
        entries = [
            RevokedCertificate(int(each.serial_number, 16), each.revoked_at, each.reason)
            for each in self.of_issuer(issuer.thumbprint)
            if now < each.not_after + LIST_VALIDITY
        ]
        signer = self._authorities.signer(issuer)
        signed = issue_revocation_list(signer, entries, number=number, now=now, validity=LIST_VALIDITY)
        der = signed.public_bytes(Encoding.DER)
        self._put(issuer.thumbprint, _SignedList(number, now, der))
        return der

    def _last(self, issuer_thumbprint: str) -> _SignedList | None:
        record = self._store.get(REVOCATION_LISTS, issuer_thumbprint)
        if record is None:
            return None
        fields = json.loads(record.value)
        return _SignedList(fields["number"], datetime.fromisoformat(fields["signedAt"]), b64decode(fields["der"]))

    def _put(self, issuer_thumbprint: str, signed: _SignedList) -> None:
        text = json.dumps(
            {"number": signed.number, "signedAt": signed.signed_at.isoformat(), "der": b64encode(signed.der).decode()}
        )
        self._store.put(REVOCATION_LISTS, issuer_thumbprint, text)


def _format(revocation: Revocation) -> str:
    return json.dumps(
        {
            "revokedAt": revocation.revoked_at.isoformat(),
            "reason": revocation.reason.value,
            "notAfter": revocation.not_after.isoformat(),
        }
    )


def _parse(key: str, text: str) -> Revocation:
    issuer_thumbprint, _, serial_number = key.partition("/")
    fields = json.loads(text)
    return Revocation(
        issuer_thumbprint,
        serial_number,
        datetime.fromisoformat(fields["revokedAt"]),
        x509.ReasonFlags(fields["reason"]),
        datetime.fromisoformat(fields["notAfter"]),
    )
