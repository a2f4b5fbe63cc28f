"""The key types hublet makes and knows, and the hash each one signs with."""

from collections.abc import Callable
from enum import Enum

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
SignatureHash = hashes.SHA256 | hashes.SHA384 | hashes.SHA512


class KeyType(Enum):
    """A kind of key by the name people use for it."""

    P256 = "P-256"
    P384 = "P-384"
    P521 = "P-521"
    RSA2048 = "RSA-2048"
    RSA3072 = "RSA-3072"
    RSA4096 = "RSA-4096"


def _generate_rsa(bits: int) -> Callable[[], PrivateKey]:
    return lambda: rsa.generate_private_key(public_exponent=65537, key_size=bits)


_GENERATORS: dict[KeyType, Callable[[], PrivateKey]] = {
    KeyType.P256: lambda: ec.generate_private_key(ec.SECP256R1()),
    KeyType.P384: lambda: ec.generate_private_key(ec.SECP384R1()),
    KeyType.P521: lambda: ec.generate_private_key(ec.SECP521R1()),
    KeyType.RSA2048: _generate_rsa(2048),
    KeyType.RSA3072: _generate_rsa(3072),
    KeyType.RSA4096: _generate_rsa(4096),
}
_CURVES = {"secp256r1": KeyType.P256, "secp384r1": KeyType.P384, "secp521r1": KeyType.P521}
_MODULI = {2048: KeyType.RSA2048, 3072: KeyType.RSA3072, 4096: KeyType.RSA4096}
_CURVE_HASHES: dict[str, SignatureHash] = {"secp384r1": hashes.SHA384(), "secp521r1": hashes.SHA512()}
_SHA256 = hashes.SHA256()


def generate_key(key_type: KeyType) -> PrivateKey:
    """Make a new private key; RSA keys have the public exponent 65537."""
    return _GENERATORS[key_type]()


def key_type_of(key: object) -> KeyType | None:
    """Name the type of a private or public key; None for any other kind, curve or size of key."""
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        return _CURVES.get(key.curve.name)
    if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey):
        return _MODULI.get(key.key_size)
    return None


def signature_hash(key: PrivateKey) -> SignatureHash:
    """Choose the hash a key signs with: as strong as its curve; SHA-256 for P-256 and RSA.

    Source: Microsoft Learn, certificate issuance: CA keys ECDSA P-384 with SHA-384 (documented).
    """
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return _CURVE_HASHES.get(key.curve.name, _SHA256)
    return _SHA256
