"""Properties of the CSR parser: nothing but `CsrError`, and no changed request passes."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.csr import MAX_CSR_CHARACTERS, CsrError, decode_csr, parse_csr

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "certs_csr.json").read_text())
DER = base64.b64decode(next(vector for vector in VECTORS if vector["id"] == "p256")["input"]["csr"])
NAME = "sensor-001"


@given(st.binary(min_size=1, max_size=MAX_CSR_CHARACTERS // 4 * 3))
def test_decode_is_the_inverse_of_encode(der):
    assert decode_csr(base64.b64encode(der).decode()) == der


@given(st.text() | st.text(alphabet="ABCab019+/=-_ \n", max_size=64))
def test_any_text_decodes_to_what_encodes_to_it_or_is_refused(text):
    try:
        der = decode_csr(text)
    except CsrError:
        return
    assert base64.b64encode(der).decode() == text


@given(st.binary(), st.booleans())
def test_any_bytes_are_refused(der, strict):
    with pytest.raises(CsrError):
        parse_csr(der, NAME, strict=strict)


@given(st.integers(0, len(DER) - 1), st.integers(1, 255))
def test_any_changed_byte_is_refused(position, difference):
    changed = bytearray(DER)
    changed[position] ^= difference
    with pytest.raises(CsrError):
        parse_csr(bytes(changed), NAME)


def test_every_truncated_prefix_is_refused():
    for length in range(len(DER)):
        with pytest.raises(CsrError):
            parse_csr(DER[:length], NAME)
