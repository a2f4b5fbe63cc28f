"""Properties of path validation: whatever a client presents, no exception, and no changed certificate passes."""

import base64
import json
from datetime import datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from certs.extensions import MalformedCertificate, load_certificate
from certs.path import PathRefusal, ValidPath, validate_path, walk_issuers

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "certs_chains.json").read_text())
CHAIN = next(vector for vector in VECTORS if vector["id"] == "powershell-three-intermediates")["input"]
NOW = datetime.fromisoformat(CHAIN["now"])
LEAF = base64.b64decode(CHAIN["leaf"])
INTERMEDIATES = [load_certificate(base64.b64decode(text)) for text in CHAIN["intermediates"]]
ANCHORS = [load_certificate(base64.b64decode(text)) for text in CHAIN["anchors"]]


def changed(der: bytes, position: int, difference: int):
    copy = bytearray(der)
    copy[position % len(der)] ^= difference
    try:
        return load_certificate(bytes(copy))
    except MalformedCertificate:
        return None


@given(st.integers(0, 1 << 16), st.integers(1, 255))
def test_no_changed_leaf_is_valid(position, difference):
    leaf = changed(LEAF, position, difference)
    if leaf is not None:
        assert isinstance(validate_path(leaf, INTERMEDIATES, ANCHORS, NOW), PathRefusal)


@given(st.integers(0, 2), st.integers(0, 1 << 16), st.integers(1, 255))
def test_no_changed_intermediate_is_on_a_valid_path(which, position, difference):
    der = base64.b64decode(CHAIN["intermediates"][which])
    intermediate = changed(der, position, difference)
    if intermediate is None:
        return
    presented = [*INTERMEDIATES[:which], intermediate, *INTERMEDIATES[which + 1 :]]
    assert isinstance(validate_path(load_certificate(LEAF), presented, ANCHORS, NOW), PathRefusal)


@given(st.permutations(INTERMEDIATES), st.integers(0, 3))
def test_order_decides_nothing(intermediates, extra):
    leaf = load_certificate(LEAF)
    presented = [*intermediates, *intermediates[:extra]]
    result = validate_path(leaf, presented, ANCHORS, NOW)
    assert isinstance(result, ValidPath)
    assert walk_issuers(leaf, presented) == result.certificates[:-1]


@given(st.lists(st.sampled_from(INTERMEDIATES)))
def test_a_path_needs_all_its_intermediates(presented):
    result = validate_path(load_certificate(LEAF), presented, ANCHORS, NOW)
    complete = len(presented) <= 8 and all(one in presented for one in INTERMEDIATES)
    assert isinstance(result, ValidPath) == complete
