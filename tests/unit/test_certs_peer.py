"""What a TLS peer presented: parsed late, thumbprints as Azure writes them."""

import hashlib
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import CertificateAuthority
from certs.extensions import MalformedCertificate
from certs.keys import KeyType
from certs.peer import PeerChain

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
FIRST, SECOND = (
    CertificateAuthority.create_root(name, NOW, key_type=KeyType.P256).certificate for name in ("first", "second")
)
DER = FIRST.public_bytes(Encoding.DER)


def test_nothing_presented():
    chain = PeerChain()
    assert not chain
    assert chain.leaf is None
    assert chain.intermediates == ()
    assert chain.sha1_thumbprint == chain.sha256_thumbprint == ""


def test_leaf_comes_first():
    chain = PeerChain((DER, SECOND.public_bytes(Encoding.DER)))
    assert chain
    assert chain.leaf == FIRST
    assert chain.intermediates == (SECOND,)


def test_thumbprints_are_upper_case_hex_of_the_leaf():
    chain = PeerChain((DER, SECOND.public_bytes(Encoding.DER)))
    assert chain.sha1_thumbprint == hashlib.sha1(DER).hexdigest().upper()
    assert chain.sha256_thumbprint == hashlib.sha256(DER).hexdigest().upper()


def test_malformed_certificate_is_found_when_it_is_read():
    chain = PeerChain((DER[:-1], DER[:-2]))
    assert chain.sha256_thumbprint
    with pytest.raises(MalformedCertificate):
        _ = chain.leaf
    with pytest.raises(MalformedCertificate):
        _ = chain.intermediates


def test_name_of_the_leaf_that_cannot_be_decoded_is_found_when_the_leaf_is_read():
    with pytest.raises(MalformedCertificate, match="subject"):
        _ = PeerChain((DER.replace(b"first", b"\xff\xffrst"),)).leaf
