"""ETags: a revision of the store, written the way DPS writes its own."""

import base64
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def format_etag(created_at: datetime, revision: int) -> str:
    """Write base64 of a quoted text that holds the revision and the record's creation time.

    The creation time keeps the ETag of a record that was deleted and made again from coming back.

    Source: azure-sdk-for-c test_az_iot_provisioning_client_parser.c (sdk).
    """
    milliseconds = (created_at - _EPOCH) // _MILLISECOND
    return base64.b64encode(b'"%08x-0000-0100-0000-%012x"' % (revision, milliseconds)).decode()


def etag_matches(if_match: str, etag: str) -> bool:
    """Tell whether an If-Match value (`*`, the ETag, or the ETag in quotes) allows changing this version."""
    return if_match == "*" or if_match.strip('"') == etag
