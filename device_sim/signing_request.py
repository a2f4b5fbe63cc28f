"""The certificate signing request of a device, as DPS and the hub take it."""

import base64

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from certs.keys import PrivateKey, signature_hash


def format_signing_request(common_name: str, key: PrivateKey) -> str:
    """Write a CSR as one line of base64 over DER PKCS#10, signed with the device's own key.

    Raises:
        ValueError: the common name does not have 1 to 64 characters.

    Source: Microsoft Learn, certificate issuance (documented).
    """
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    request = x509.CertificateSigningRequestBuilder(subject).sign(key, signature_hash(key))
    return base64.b64encode(request.public_bytes(Encoding.DER)).decode("ascii")
