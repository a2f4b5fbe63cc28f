import base64
import json
from typing import Any

import pytest

from hub.credential_request import CredentialRequest, parse_credential_request
from hub.errors import ArgumentInvalid, IotHubFormatError

CSR = base64.b64encode(b"csr").decode()


def parse(**fields: Any) -> CredentialRequest:
    return parse_credential_request(json.dumps({"id": "dev1", "csr": CSR, **fields}).encode(), "dev1")


def test_request_is_read_with_its_csr_decoded() -> None:
    assert parse() == CredentialRequest(b"csr", None)


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b"nul", b" "])
def test_body_that_is_not_json_is_a_format_error(body: bytes) -> None:
    with pytest.raises(IotHubFormatError, match="cannot decode json format"):
        parse_credential_request(body, "dev1")


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"text"', b"true"])
def test_json_that_is_no_object_names_no_device(body: bytes) -> None:
    with pytest.raises(ArgumentInvalid, match="'id' field does not match"):
        parse_credential_request(body, "dev1")


@pytest.mark.parametrize("value", [None, 1, [], ""])
def test_id_must_be_a_text(value: object) -> None:
    with pytest.raises(ArgumentInvalid, match="'id' field is invalid or missing"):
        parse(id=value)


def test_id_is_case_sensitive() -> None:
    with pytest.raises(ArgumentInvalid, match="'id' field does not match"):
        parse(id="DEV1")


@pytest.mark.parametrize("value", [None, 1, [], "", {}])
def test_csr_must_be_a_text(value: object) -> None:
    with pytest.raises(ArgumentInvalid, match="'csr' field is invalid or missing"):
        parse(csr=value)


@pytest.mark.parametrize("missing", ["id", "csr"])
def test_both_fields_are_required(missing: str) -> None:
    fields = {"id": "dev1", "csr": CSR}
    del fields[missing]
    with pytest.raises(ArgumentInvalid, match=f"'{missing}' field is invalid or missing"):
        parse_credential_request(json.dumps(fields).encode(), "dev1")


def test_csr_of_8_kb_is_taken_and_one_character_more_is_not() -> None:
    assert len(parse(csr="A" * 8192).csr) == 6144
    with pytest.raises(ArgumentInvalid, match="maximum allowed length"):
        parse(csr="A" * 8196)


@pytest.mark.parametrize("csr", ["-----BEGIN CERTIFICATE REQUEST-----\nAAAA", "AAA", "AA=A", "AAAA\n", "AA-_"])
def test_csr_that_is_not_one_line_of_base64_is_refused(csr: str) -> None:
    with pytest.raises(ArgumentInvalid, match="not valid base64"):
        parse(csr=csr)


@pytest.mark.parametrize(
    "replace", ["*", "abcd", "a" * 36, "A-b-9", "156089087", "db8c0f73-ac73-4b90-bba4-8a26ae2fcb27"]
)
def test_replace_may_be_a_star_or_a_request_id(replace: str) -> None:
    assert parse(replace=replace).replace == replace


@pytest.mark.parametrize(
    "replace", ["", "abc", "a" * 37, "-abc", "abc-", "ab_cd", "**", "äbcd", "abcd\n", 1234, ["*"], True]
)
def test_replace_may_be_nothing_else(replace: object) -> None:
    with pytest.raises(ArgumentInvalid, match="'replace' field has an invalid format"):
        parse(replace=replace)


def test_null_replace_is_none() -> None:
    assert parse(replace=None).replace is None


def test_unknown_field_is_reported_before_anything_else() -> None:
    with pytest.raises(ArgumentInvalid, match="unknown field"):
        parse(id="", other=1)
