import json
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

from hub import errors
from hub.error_body import format_error_body, format_timestamp
from hub.errors import ArgumentInvalid, CredentialOperationPending, HubError

NOW = datetime(2026, 1, 31, 0, 49, 39, 467401, tzinfo=UTC)


def test_body_has_the_five_members_of_the_service() -> None:
    body = json.loads(format_error_body(ArgumentInvalid("wrong €"), NOW))
    tracking_id = body.pop("trackingId")
    assert body == {
        "errorCode": 400004,
        "message": "wrong €",
        "timestampUtc": "2026-01-31T00:49:39.467401000Z",
        "info": None,
    }
    assert re.fullmatch(r"[0-9A-F]{32}-G2:-TimeStamp:2026-01-31T00:49:39\.467401000Z", tracking_id)


def test_body_is_ascii_and_carries_info() -> None:
    text = format_error_body(CredentialOperationPending("€", {"requestId": "abcd"}), NOW)
    assert text.isascii()
    assert json.loads(text)["info"] == {"requestId": "abcd"}


def test_timestamp_is_in_utc_with_nine_fraction_digits() -> None:
    assert format_timestamp(NOW.astimezone(timezone(timedelta(hours=5)))) == "2026-01-31T00:49:39.467401000Z"


ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, HubError)]


@pytest.mark.parametrize("kind", ERRORS)
def test_status_is_the_first_three_digits_of_the_code(kind: type[HubError]) -> None:
    assert str(kind.code).startswith(str(kind("x").status))
    assert 400 <= kind("x").status < 600
    assert kind is HubError or str(kind.code) in str(kind.__doc__)


def test_no_two_errors_share_a_code() -> None:
    codes = [kind.code for kind in ERRORS if kind is not HubError]
    assert len(codes) == len(set(codes))
