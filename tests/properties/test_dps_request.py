"""Register bodies: any bytes are read or refused, and a good body is read whole or not at all."""

import base64
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dps.api_version import parse_api_version
from dps.errors import BadRequest, DeserializationError
from dps.request import RegisterRequest, parse_register_request

VERSION = parse_api_version("2025-07-01-preview")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.sampled_from(["registrationId", "csr", "payload", "tpm", "clientCertificateCsr", "other"])


def read(body: bytes, *, strict: bool = False) -> RegisterRequest | None:
    """The request, None when it is refused in a documented way."""
    try:
        return parse_register_request(body, "sensor-001", VERSION, strict=strict)
    except (BadRequest, DeserializationError) as error:
        assert error.status == 400
        return None


@given(st.binary(max_size=300) | st.text('{}[]":,\\u0\n tfn1e+', max_size=80).map(str.encode), st.booleans())
def test_any_bytes_are_read_or_refused(body: bytes, strict: bool) -> None:
    read(body, strict=strict)


@given(st.dictionaries(MEMBERS, JSON))
def test_any_object_is_read_or_refused(document: dict[str, Any]) -> None:
    request = read(json.dumps(document).encode())
    if request is not None:
        assert request.payload == document.get("payload")


@given(st.binary(min_size=1, max_size=400), st.none() | st.dictionaries(st.text(max_size=8), JSON, max_size=3))
def test_request_is_read_as_a_client_writes_it(csr: bytes, payload: dict[str, Any] | None) -> None:
    document = {"registrationId": "sensor-001", "csr": base64.b64encode(csr).decode(), "payload": payload}
    assert read(json.dumps(document).encode()) == RegisterRequest(csr, payload)


@given(st.binary(min_size=1, max_size=40), st.data())
def test_truncated_body_is_refused(csr: bytes, data: st.DataObject) -> None:
    body = json.dumps({"registrationId": "sensor-001", "csr": base64.b64encode(csr).decode()}).encode()
    assert read(body[: data.draw(st.integers(1, len(body) - 1))]) is None
