"""Which api-version switches what on."""

import pytest

from dps.api_version import KNOWN_API_VERSIONS, parse_api_version

# Each version switches three things: csr, clientCertificateCsr and the substatus reprovisionedToInitialAssignment.
SWITCHES = {
    "2018-11-01": (False, False, False),
    "2019-03-31": (False, False, False),
    "2019-04-15": (False, False, True),
    "2021-06-01": (False, False, True),
    "2021-10-01": (False, False, True),
    "2021-11-01-preview": (False, True, True),
    "2025-07-01-preview": (True, False, True),
    "2026-11-01": (True, False, True),
    "2026-11-02-preview": (True, False, True),
    "2026-11-15-preview": (True, False, True),
    "2031-01-01": (True, False, True),
    "2025-06-30": (False, False, True),
}


@pytest.mark.parametrize("text", SWITCHES)
def test_api_version_switches(text: str) -> None:
    version = parse_api_version(text)
    assert (version.takes_csr, version.takes_pem_csr, version.tells_reprovisioned) == SWITCHES[text]
    assert version.is_known == (text in KNOWN_API_VERSIONS)


@pytest.mark.parametrize("text", KNOWN_API_VERSIONS)
def test_every_known_version_can_be_read(text: str) -> None:
    assert parse_api_version(text).is_known


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2019",
        "2019-3-31",
        "20190331",
        "2019-W13-7",
        "2019-02-29",
        "2019-03-31-Preview",
        "２019-03-31",
        "2019-03-31T",
    ],
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="api-version"):
        parse_api_version(text)
