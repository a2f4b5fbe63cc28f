"""ETags as DPS writes them."""

import base64
import re
from datetime import UTC, datetime, timedelta

import pytest

from dps.etag import etag_matches, format_etag

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)


def test_etag_is_base64_of_a_quoted_text() -> None:
    quoted = base64.b64decode(format_etag(NOW, 3), validate=True).decode()
    assert re.fullmatch(r'"00000003-0000-0100-0000-[0-9a-f]{12}"', quoted)


def test_etag_tells_revisions_and_generations_apart() -> None:
    etags = {format_etag(NOW + timedelta(milliseconds=age), revision) for age in (0, 1) for revision in (1, 2)}
    assert len(etags) == 4


@pytest.mark.parametrize("form", ["{}", '"{}"'])
def test_if_match_may_be_quoted(form: str) -> None:
    etag = format_etag(NOW, 1)
    assert etag_matches(form.format(etag), etag)
    assert not etag_matches(form.format(format_etag(NOW, 2)), etag)


def test_star_matches_everything() -> None:
    assert etag_matches("*", "anything")
