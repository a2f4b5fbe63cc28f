"""Key types: what is generated, what is recognised, and the hash each one signs with."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from certs.keys import KeyType, generate_key, key_type_of, signature_hash

HASHES = {KeyType.P384: "sha384", KeyType.P521: "sha512"}


@pytest.mark.parametrize("key_type", list(KeyType), ids=lambda key_type: key_type.value)
def test_generated_key_has_its_type_and_hash(key_type):
    key = generate_key(key_type)
    assert key_type_of(key) is key_type
    assert key_type_of(key.public_key()) is key_type
    assert signature_hash(key).name == HASHES.get(key_type, "sha256")


def test_generated_keys_differ():
    assert generate_key(KeyType.P256).private_numbers() != generate_key(KeyType.P256).private_numbers()


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP224R1()),
        ec.generate_private_key(ec.SECP256K1()),
        rsa.generate_private_key(65537, 2056),
        ed25519.Ed25519PrivateKey.generate(),
        "P-256",
        None,
    ],
    ids=["P-224", "secp256k1", "RSA-2056", "Ed25519", "text", "None"],
)
def test_other_keys_have_no_type(key):
    assert key_type_of(key) is None


def test_curve_of_no_type_signs_with_sha256():
    assert signature_hash(ec.generate_private_key(ec.SECP224R1())).name == "sha256"
