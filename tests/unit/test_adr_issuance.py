from base64 import b64decode
from datetime import UTC, datetime, timedelta

from cryptography import x509

from adr.issuance import IssuedChain
from certs.authority import CertificateAuthority

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


def test_base64_der_is_one_line_per_certificate_leaf_first() -> None:
    root = CertificateAuthority.create_root("root", NOW)
    issuing_ca = root.issue_intermediate("ica", NOW)
    leaf = issuing_ca.issue_onboarding("leaf", root.key.public_key(), NOW, validity=timedelta(days=1))
    chain = IssuedChain(leaf, issuing_ca.certificate, root.certificate)
    texts = chain.base64_der()
    assert [x509.load_der_x509_certificate(b64decode(text, validate=True)) for text in texts] == [
        leaf,
        issuing_ca.certificate,
        root.certificate,
    ]
    assert int(chain.serial_number, 16) == leaf.serial_number
