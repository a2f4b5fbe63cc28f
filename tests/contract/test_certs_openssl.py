"""The `openssl` command line as a second opinion: it accepts our chains and we accept its requests."""

import base64
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from cryptography import x509

from certs.authority import CertificateAuthority
from certs.csr import decode_csr, parse_csr
from certs.keys import KeyType, generate_key, key_type_of
from certs.path import ValidPath, validate_path
from certs.pem import format_pem, parse_pem_certificates
from certs.profiles import ONBOARDING_INTERMEDIATE, ONBOARDING_ROOT, SERVER_CA

OPENSSL = shutil.which("openssl")
pytestmark = pytest.mark.skipif(OPENSSL is None, reason="the openssl command line is not installed")

NOW = datetime(2026, 11, 23, 12, 30, 15, tzinfo=UTC)
MONTH = timedelta(days=30)
IDENTIFIER = UUID("b1e02da8-1111-4222-8333-000000000001")


def openssl(*arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [str(OPENSSL), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0 or not check, result.stderr
    return result


@pytest.fixture
def verify(tmp_path):
    """Run `openssl verify` at NOW, with every rule of RFC 5280 switched on."""

    def run(leaf, intermediates, anchor, purpose, *options) -> subprocess.CompletedProcess[str]:
        for name, certificates in (("leaf", [leaf]), ("untrusted", intermediates), ("trusted", [anchor])):
            (tmp_path / f"{name}.pem").write_bytes(format_pem(*certificates))
        untrusted = ["-untrusted", tmp_path / "untrusted.pem"] if intermediates else []
        at = ["-attime", int(NOW.timestamp()), "-x509_strict", "-purpose", purpose, "-no-CApath", "-no-CAstore"]
        trusted = ["-CAfile", tmp_path / "trusted.pem"]
        return openssl("verify", *at, *trusted, *untrusted, *options, tmp_path / "leaf.pem", check=False)

    return run


def operational(ica: CertificateAuthority, public_key) -> x509.Certificate:
    urls = {"crl_url": "http://a.example/crl", "issuer_url": "http://a.example/ca"}
    return ica.issue_operational("sensor-001", public_key, IDENTIFIER, NOW, validity=MONTH, **urls)


@pytest.mark.parametrize("key_type", list(KeyType), ids=lambda key_type: key_type.value)
def test_operational_chain_verifies(verify, key_type):
    """Root, issuing CA and a leaf of every key type: to the root, and to the issuing CA as a partial chain."""
    root = CertificateAuthority.create_root("factory root", NOW)
    urls = {"crl_url": "http://a.example/root.crl", "issuer_url": "http://a.example/root.cer"}
    ica = root.issue_intermediate("factory default", NOW, **urls)
    leaf = operational(ica, generate_key(key_type).public_key())
    full = verify(leaf, [ica.certificate], root.certificate, "sslclient")
    assert full.returncode == 0, full.stderr
    partial = verify(leaf, [], ica.certificate, "sslclient", "-partial_chain")
    assert partial.returncode == 0, partial.stderr


@pytest.mark.parametrize("key_type", [KeyType.P256, KeyType.P521, KeyType.RSA2048], ids=lambda key_type: key_type.value)
def test_onboarding_chain_verifies(verify, key_type):
    """The development CA's chain, with CAs of several key types."""
    root = CertificateAuthority.create_root("dev root", NOW, key_type=key_type, profile=ONBOARDING_ROOT)
    ca = root.issue_intermediate("dev CA", NOW, key_type=key_type, profile=ONBOARDING_INTERMEDIATE)
    leaf = ca.issue_onboarding("sensor-001", generate_key(KeyType.P256).public_key(), NOW, validity=MONTH)
    result = verify(leaf, [ca.certificate], root.certificate, "sslclient")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("host", ["localhost", "hub2.localhost"])
def test_server_chain_verifies_for_its_hosts(verify, host):
    """The server leaf, directly under the server CA, for each of its DNS names."""
    ca = CertificateAuthority.create_root("server CA", NOW, profile=SERVER_CA)
    public_key = generate_key(KeyType.RSA2048).public_key()
    leaf = ca.issue_server(["localhost", "hub2.localhost", "::1"], public_key, NOW, validity=MONTH)
    result = verify(leaf, [], ca.certificate, "sslserver", "-verify_hostname", host)
    assert result.returncode == 0, result.stderr
    assert verify(leaf, [], ca.certificate, "sslserver", "-verify_ip", "::1").returncode == 0
    assert verify(leaf, [], ca.certificate, "sslserver", "-verify_hostname", "other").returncode != 0


def test_operational_leaf_is_no_server_and_chains_to_no_other_root(verify):
    """The checks above can fail."""
    root, other = (CertificateAuthority.create_root("factory root", NOW) for _ in range(2))
    ica = root.issue_intermediate("factory default", NOW)
    leaf = operational(ica, generate_key(KeyType.P256).public_key())
    assert verify(leaf, [ica.certificate], root.certificate, "sslserver").returncode != 0
    assert verify(leaf, [ica.certificate], other.certificate, "sslclient").returncode != 0


@pytest.mark.parametrize(
    ("options", "key_type"),
    [
        (["EC", "-pkeyopt", "ec_paramgen_curve:P-256"], KeyType.P256),
        (["EC", "-pkeyopt", "ec_paramgen_curve:P-384"], KeyType.P384),
        (["EC", "-pkeyopt", "ec_paramgen_curve:P-521"], KeyType.P521),
        (["RSA", "-pkeyopt", "rsa_keygen_bits:2048"], KeyType.RSA2048),
    ],
    ids=lambda value: value.value if isinstance(value, KeyType) else "",
)
def test_request_made_by_openssl_is_issued_for(tmp_path, verify, options, key_type):
    """Key and CSR by openssl, certificate by us, verified by openssl and by us."""
    key, request = tmp_path / "device.key", tmp_path / "device.csr"
    openssl("genpkey", "-algorithm", *options, "-out", key)
    openssl("req", "-new", "-key", key, "-subj", "/O=Contoso/CN=sensor-001", "-outform", "DER", "-out", request)
    parsed = parse_csr(decode_csr(base64.b64encode(request.read_bytes()).decode()), "sensor-001")
    assert key_type_of(parsed.public_key) is key_type
    root = CertificateAuthority.create_root("factory root", NOW)
    ica = root.issue_intermediate("factory default", NOW)
    leaf = operational(ica, parsed.public_key)
    result = verify(leaf, [ica.certificate], root.certificate, "sslclient")
    assert result.returncode == 0, result.stderr
    assert isinstance(validate_path(leaf, [ica.certificate], [root.certificate], NOW), ValidPath)


CERTGEN = """
[req]
distinguished_name = dn
[dn]
[ca]
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always,issuer
basicConstraints = critical,CA:true
keyUsage = critical,digitalSignature,cRLSign,keyCertSign
[device]
basicConstraints = CA:FALSE
nsCertType = client,email
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid,issuer
keyUsage = critical,nonRepudiation,digitalSignature,keyEncipherment
extendedKeyUsage = clientAuth,emailProtection
"""


def test_chain_made_as_the_azure_sample_script_does_is_valid(tmp_path):
    """The extensions of azure-iot-sdk-c tools/CACertificates, by the openssl of this machine, with a serial of 1."""
    config = tmp_path / "openssl.cnf"
    config.write_text(CERTGEN)

    def key_and_request(name: str, common_name: str) -> list[object]:
        key, request = tmp_path / f"{name}.key", tmp_path / f"{name}.csr"
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key)
        openssl("req", "-new", "-config", config, "-key", key, "-subj", f"/CN={common_name}", "-out", request)
        return ["x509", "-req", "-in", request, "-days", 30, "-sha256", "-out", tmp_path / f"{name}.pem"]

    def under(issuer: str) -> list[object]:
        return ["-CA", tmp_path / f"{issuer}.pem", "-CAkey", tmp_path / f"{issuer}.key", "-set_serial", 1]

    ca, device = ["-extfile", config, "-extensions", "ca"], ["-extfile", config, "-extensions", "device"]
    openssl(*key_and_request("root", "Test Only Root"), "-signkey", tmp_path / "root.key", *ca)
    openssl(*key_and_request("intermediate", "Test Only Intermediate"), *under("root"), *ca)
    openssl(*key_and_request("device", "sensor-001"), *under("intermediate"), *device)
    root, intermediate, leaf = (
        parse_pem_certificates((tmp_path / f"{name}.pem").read_bytes())[0]
        for name in ("root", "intermediate", "device")
    )
    result = validate_path(leaf, [intermediate, root], [root], leaf.not_valid_before_utc)
    assert isinstance(result, ValidPath), result
    assert result.certificates == (leaf, intermediate, root)
