"""CSR rules, one vector each; the file holds what Microsoft's clients send and what nobody should."""

import base64
import json
from pathlib import Path

import pytest

from certs.csr import MAX_CSR_CHARACTERS, CsrError, CsrReason, decode_csr, parse_csr
from certs.keys import key_type_of

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "certs_csr.json").read_text())
BY_ID = {vector["id"]: vector["input"] for vector in VECTORS}


def parse(given: dict[str, object]):
    return parse_csr(decode_csr(given["csr"]), given["common_name"], strict=given["strict"])


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
def test_rule(vector):
    given, expect = vector["input"], vector["expect"]
    if "reason" in expect:
        with pytest.raises(CsrError) as caught:
            parse(given)
        assert caught.value.reason is CsrReason[expect["reason"]]
        assert len(str(caught.value)) < 500
    else:
        request = parse(given)
        assert key_type_of(request.public_key).value == expect["key_type"]
        assert request.common_name.lower() == given["common_name"]
        assert base64.b64encode(request.der).decode() == given["csr"]


def message_of(vector_id: str) -> str:
    with pytest.raises(CsrError) as caught:
        parse(BY_ID[vector_id])
    return str(caught.value)


@pytest.mark.parametrize(
    ("vector_id", "words"),
    [
        ("one-character-too-long", ["8193", "8192"]),
        ("pem", ["PEM", "base64"]),
        ("common-name-of-another-device", ["sensor-001", "sensor-002"]),
        ("p224", ["secp224r1", "P-256, P-384 or P-521"]),
        ("rsa-1024", ["1024", "2048"]),
        ("rsa-4224", ["4224", "4096"]),
        ("rsa-2048-strict", ["RSA", "an EC key"]),
        ("ed25519", ["Ed25519", "EC or RSA"]),
        ("sha1-signature", ["1.2.840.10045.4.1", "SHA-256"]),
    ],
)
def test_message_names_value_and_limit(vector_id, words):
    message = message_of(vector_id)
    assert all(word in message for word in words), message


def test_common_name_is_spelled_as_in_the_request():
    assert parse(BY_ID["common-name-in-other-case"]).common_name == "SENSOR-001"


def test_expected_name_may_be_in_any_case():
    assert parse(BY_ID["p256"] | {"common_name": "Sensor-001"}).common_name == "sensor-001"


def test_key_is_judged_before_the_name_and_the_name_before_the_signature():
    wrong_key = BY_ID["p224"] | {"common_name": "another"}
    wrong_signature = BY_ID["signature-changed"] | {"common_name": "another"}
    for given, reason in ((wrong_key, CsrReason.KEY_REFUSED), (wrong_signature, CsrReason.COMMON_NAME)):
        with pytest.raises(CsrError) as caught:
            parse(given)
        assert caught.value.reason is reason


def test_size_is_judged_before_the_encoding():
    with pytest.raises(CsrError) as caught:
        decode_csr("!" * (MAX_CSR_CHARACTERS + 1))
    assert caught.value.reason is CsrReason.TOO_LARGE
