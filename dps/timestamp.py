"""Timestamps as DPS writes them: UTC, seven fractional digits, `Z`."""

from datetime import datetime

_OFFSET = "+00:00"


def format_timestamp(moment: datetime) -> str:
    """Write an aware UTC time.

    Source: azure-sdk-for-c test_az_iot_provisioning_client_parser.c (sdk).
    """
    text = moment.isoformat(timespec="microseconds")
    assert text.endswith(_OFFSET), f"{text} is not UTC"
    return f"{text[: -len(_OFFSET)]}0Z"


def parse_timestamp(text: str) -> datetime:
    """Read what `format_timestamp` wrote.

    Raises:
        ValueError: not an ISO 8601 time with an offset.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"timestamp {text!r} has no offset")
    return moment
