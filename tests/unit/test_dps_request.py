"""The body of a registration."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from dps.api_version import parse_api_version
from dps.errors import BadRequest, DeserializationError, DpsError
from dps.request import MAX_BODY_BYTES, RegisterRequest, parse_register_request

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "dps_register_bodies.json").read_text(encoding="utf-8"))
CSR_VERSION = "2025-07-01-preview"


def parse(body: bytes, api_version: str = CSR_VERSION, *, strict: bool = False) -> RegisterRequest:
    return parse_register_request(body, "sensor-001", parse_api_version(api_version), strict=strict)


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
def test_body_is_read_as_the_vector_says(vector: dict[str, Any]) -> None:
    given, expect = dict(vector["input"]), vector["expect"]
    body = given.pop("body").encode()
    if "error" in expect:
        with pytest.raises(DpsError) as refusal:
            parse(body, **given)
        assert refusal.value.error_code == expect["error"]
        return
    csr = None if expect["csr"] is None else base64.b64decode(expect["csr"])
    assert parse(body, **given) == RegisterRequest(csr, expect["payload"])


@pytest.mark.parametrize("body", [b"\xff", b'{"payload":{"x":"\xc3"}}', "{}".encode("utf-16")])
def test_body_that_is_not_utf8_is_refused(body: bytes) -> None:
    with pytest.raises(DeserializationError, match="not UTF-8"):
        parse(body)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(DeserializationError):
        parse(b'{"payload":' + b"[" * 40_000 + b"]" * 40_000 + b"}")


def test_endless_integer_is_refused() -> None:
    with pytest.raises(DeserializationError):
        parse(b'{"payload":{"x":' + b"9" * 5_000 + b"}}")


def test_limit_is_96_kib() -> None:
    padding = b" " * (MAX_BODY_BYTES - 2)
    assert parse(padding + b"{}") == RegisterRequest()
    with pytest.raises(BadRequest, match="98305 bytes; at most 98304"):
        parse(padding + b" {}")


def test_ignored_csr_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    parse(b'{"csr":"MIHQ"}', "2021-06-01")
    assert caplog.messages == ["device sensor-001: api-version 2021-06-01 has no csr, ignored"]


def test_csr_over_8_kib_is_refused() -> None:
    with pytest.raises(DeserializationError, match="8192"):
        parse(json.dumps({"csr": "A" * 8196}).encode())
