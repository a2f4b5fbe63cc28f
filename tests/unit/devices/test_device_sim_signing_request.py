import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from certs.csr import decode_csr, parse_csr
from certs.keys import KeyType, PrivateKey, generate_key, signature_hash
from device_sim.signing_request import format_signing_request

# The second is the longest that there may be.
NAMES = ("sensor-001", "n" * 64)


def built(common_name: str, key: PrivateKey) -> x509.CertificateSigningRequest:
    """Make the same request with the library's builder."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    return x509.CertificateSigningRequestBuilder(subject).sign(key, signature_hash(key))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key_type", [KeyType.P256, KeyType.P384, KeyType.P521, KeyType.RSA2048])
def test_request_says_what_the_library_would_write(key_type: KeyType, name: str) -> None:
    key = generate_key(key_type)
    request = x509.load_der_x509_csr(base64.b64decode(format_signing_request(name, key)))
    expected = built(name, key)
    assert request.tbs_certrequest_bytes == expected.tbs_certrequest_bytes
    assert request.signature_algorithm_oid == expected.signature_algorithm_oid
    assert request.is_signature_valid


def test_request_signed_with_rsa_is_the_librarys_to_the_byte() -> None:
    key = generate_key(KeyType.RSA2048)
    assert base64.b64decode(format_signing_request("pump", key)) == built("pump", key).public_bytes(Encoding.DER)


@pytest.mark.parametrize("key_type", [KeyType.P256, KeyType.RSA2048])
def test_request_meets_the_rules_of_the_services(key_type: KeyType) -> None:
    key = generate_key(key_type)
    request = parse_csr(decode_csr(format_signing_request("sensor-001", key)), "sensor-001")
    assert request.public_key == key.public_key()


@pytest.mark.parametrize("name", ["", "n" * 65])
def test_common_name_has_1_to_64_characters(name: str) -> None:
    with pytest.raises(ValueError, match="it must have 1 to 64"):
        format_signing_request(name, generate_key(KeyType.P256))
