"""The outcome of authenticating a connection."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class AuthMethod(StrEnum):
    """How a connection authenticated, as the text its events carry in `iothub-connection-auth-method`.

    Source: iot-hub-devguide-messages-construct.md (documented); the type of a CA-signed certificate is assumed.
    """

    DEVICE_KEY = '{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}'
    MODULE_KEY = '{"scope":"module","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}'
    HUB_POLICY = '{"scope":"hub","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}'
    THUMBPRINT = '{"scope":"device","type":"x509Certificate","issuer":"external","acceptingIpFilterRule":null}'
    CERTIFICATE_AUTHORITY = (
        '{"scope":"device","type":"x509CertificateAuthority","issuer":"external","acceptingIpFilterRule":null}'
    )


@dataclass(frozen=True, slots=True)
class Grant:
    """The credential is good; the connection ends at `expires_at`, None never.

    `issuer` is the thumbprint of the issuing CA of ADR that stands behind it, None for any other credential: when
    that CA is revoked, the connection ends.
    """

    method: AuthMethod
    expires_at: datetime | None = None
    issuer: str | None = None


@dataclass(frozen=True, slots=True)
class Denial:
    """The credential is not good; `reason` is exact and for the log, it names no key and no signature."""

    reason: str
