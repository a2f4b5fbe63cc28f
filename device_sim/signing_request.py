"""The certificate signing request of a device, as DPS and the hub take it.

Written out here: the request of a device is a name, a key and a signature, and a builder that can do more costs a fleet
as much again as the signature.
"""

import base64
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certs.keys import PrivateKey, signature_hash

MAX_COMMON_NAME_LENGTH: Final = 64  # RFC 5280 appendix A.1, ub-common-name

_SEQUENCE, _SET, _UTF8_STRING, _BIT_STRING = 0x30, 0x31, 0x0C, 0x03
_VERSION_1 = bytes.fromhex("020100")
_COMMON_NAME = bytes.fromhex("0603550403")
_NO_ATTRIBUTES = bytes.fromhex("a000")
# RFC 5758 section 3.2 and RFC 4055 section 5, with the parameters that they ask for.
_ECDSA_WITH = {
    "sha256": bytes.fromhex("300a06082a8648ce3d040302"),
    "sha384": bytes.fromhex("300a06082a8648ce3d040303"),
    "sha512": bytes.fromhex("300a06082a8648ce3d040304"),
}
_SHA256_WITH_RSA = bytes.fromhex("300d06092a864886f70d01010b0500")


def format_signing_request(common_name: str, key: PrivateKey) -> str:
    """Write a CSR as one line of base64 over DER PKCS#10, signed with the device's own key.

    Raises:
        ValueError: the common name does not have 1 to 64 characters.

    Source: Microsoft Learn, certificate issuance (documented).
    """
    if not 1 <= len(common_name) <= MAX_COMMON_NAME_LENGTH:
        raise ValueError(f"the common name has {len(common_name)} characters, it must have 1 to 64")
    subject = _der(_SEQUENCE, _der(_SET, _der(_SEQUENCE, _COMMON_NAME + _der(_UTF8_STRING, common_name.encode()))))
    public_key = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    signed = _der(_SEQUENCE, _VERSION_1 + subject + public_key + _NO_ATTRIBUTES)
    algorithm, signature = _sign(key, signed)
    request = _der(_SEQUENCE, signed + algorithm + _der(_BIT_STRING, b"\0" + signature))
    return base64.b64encode(request).decode("ascii")


def _sign(key: PrivateKey, signed: bytes) -> tuple[bytes, bytes]:
    """Give the AlgorithmIdentifier and the signature."""
    digest = signature_hash(key)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return _ECDSA_WITH[digest.name], key.sign(signed, ec.ECDSA(digest))
    return _SHA256_WITH_RSA, key.sign(signed, padding.PKCS1v15(), digest)


def _der(tag: int, content: bytes) -> bytes:
    """Write one value with its tag and its length (X.690 sections 8.1.2 and 10.1)."""
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content
