"""Which api-versions devices send, and what each switches on.

Editing rules: a version that is not in `KNOWN_API_VERSIONS` is served by its date like its neighbours (assumed),
because shipping and preview clients send at least six; the table is for readers and for the log.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType

KNOWN_API_VERSIONS: Mapping[str, str] = MappingProxyType(
    {
        "2018-11-01": "first device API",
        "2019-01-15": "older device SDKs",
        "2019-03-31": "every released device SDK: no CSR",
        "2019-04-15": "substatus reprovisionedToInitialAssignment",
        "2021-06-01": "IoT Edge",
        "2021-10-01": "as 2021-06-01",
        "2021-11-01-preview": "clientCertificateCsr, PEM both ways",
        "2025-07-01-preview": "csr and issuedCertificateChain",
        "2026-11-01": "the same, released",
        "2026-11-02-preview": "connectionProfile (not offered here)",
        "2026-11-15-preview": "appears in examples only",
    }
)
PEM_CSR_VERSION = "2021-11-01-preview"
REPROVISIONED_SUBSTATUS_SINCE = date(2019, 4, 15)
CSR_SINCE = date(2025, 7, 1)
_FORM = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:-preview)?")


@dataclass(frozen=True, slots=True)
class ApiVersion:
    """An api-version as sent, and its date."""

    text: str
    released: date

    @property
    def is_known(self) -> bool:
        """Whether a client is known to send it."""
        return self.text in KNOWN_API_VERSIONS

    @property
    def takes_csr(self) -> bool:
        """Whether `csr` is read and `issuedCertificateChain` written.

        Source: azure-rest-api-specs device/main.tsp (documented).
        """
        return self.released >= CSR_SINCE

    @property
    def takes_pem_csr(self) -> bool:
        """Whether `clientCertificateCsr` is read and `issuedClientCertificate` written.

        Source: azure-iot-sdk-csharp branch previews/dpsClientCertificates (sdk).
        """
        return self.text == PEM_CSR_VERSION

    @property
    def tells_reprovisioned(self) -> bool:
        """Whether the substatus `reprovisionedToInitialAssignment` is told apart from `initialAssignment`.

        Source: azure-iot-sdk-csharp ProvisioningRegistrationSubstatus.cs (sdk).
        """
        return self.released >= REPROVISIONED_SUBSTATUS_SINCE


def parse_api_version(text: str) -> ApiVersion:
    """Read `yyyy-mm-dd` with an optional `-preview`.

    Raises:
        ValueError: the text has another form or names no day of the calendar.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        raise ValueError(f"api-version {text[:40]!r} is not yyyy-mm-dd or yyyy-mm-dd-preview")
    try:
        return ApiVersion(text, date.fromisoformat(form[1]))
    except ValueError:
        raise ValueError(f"api-version {text[:40]!r} is not a date of the calendar") from None
