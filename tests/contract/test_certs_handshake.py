"""Real TLS handshakes in memory with our chains, verified by the stdlib's OpenSSL on both sides."""

import ssl
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import CertificateAuthority
from certs.identifier import device_identifier
from certs.keyfile import write_private
from certs.keys import KeyType, generate_key
from certs.path import ValidPath, validate_path
from certs.peer import PeerChain
from certs.pem import format_pem, format_private_key
from certs.profiles import ONBOARDING_INTERMEDIATE, ONBOARDING_ROOT, SERVER_CA

HOSTS = ["localhost", "hub2.localhost", "127.0.0.1", "::1"]
DAY = timedelta(days=1)
# OpenSSL verifies at the machine's time, so this test has to issue at it.
NOW = datetime.now(UTC)
ROOT = CertificateAuthority.create_root("factory root", NOW)
ICA = ROOT.issue_intermediate("factory default", NOW)
SERVER = CertificateAuthority.create_root("server CA", NOW, profile=SERVER_CA)


def load_chain(context: ssl.SSLContext, directory, key, *certificates) -> None:
    path = directory / f"{uuid4()}.pem"
    write_private(path, format_private_key(key) + format_pem(*certificates))
    context.load_cert_chain(path)


def server_context(directory, key_type: KeyType, trusted: x509.Certificate = ROOT.certificate) -> ssl.SSLContext:
    """A server that demands a client certificate under a root, the factory's if no other is named."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=format_pem(trusted).decode())
    key = generate_key(key_type)
    load_chain(context, directory, key, SERVER.issue_server(HOSTS, key.public_key(), NOW, validity=DAY))
    return context


def client_context(directory, key_type: KeyType, *, with_intermediate: bool = True) -> ssl.SSLContext:
    """A device with an operational certificate that trusts the server CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=format_pem(SERVER.certificate).decode())
    key = generate_key(key_type)
    urls = {"crl_url": "http://a.example/crl", "issuer_url": "http://a.example/ca"}
    leaf = ICA.issue_operational("sensor-001", key.public_key(), uuid4(), NOW, validity=DAY, **urls)
    load_chain(context, directory, key, leaf, *([ICA.certificate] if with_intermediate else []))
    return context


def handshake(server_side: ssl.SSLContext, client_side: ssl.SSLContext, host: str) -> ssl.SSLObject:
    """Pass the two sides' records to each other until both are done; returns the server's end."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_side.wrap_bio(to_client, to_server, server_hostname=host)
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    unfinished = [client, server]
    for _ in range(10):
        for end in list(unfinished):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            unfinished.remove(end)
        if not unfinished:
            return server
    raise AssertionError("the handshake does not end")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])
@pytest.mark.parametrize("server_key", [KeyType.P256, KeyType.RSA2048], ids=lambda key_type: key_type.value)
@pytest.mark.parametrize(
    "device_key", [KeyType.P256, KeyType.P384, KeyType.P521, KeyType.RSA2048], ids=lambda key_type: key_type.value
)
def test_device_and_server_accept_each_other(tmp_path, device_key, server_key, version):
    """Root, issuing CA and leaf against a server leaf, for every pair of key types and both TLS versions."""
    client = client_context(tmp_path, device_key)
    client.minimum_version = client.maximum_version = version
    end = handshake(server_context(tmp_path, server_key), client, "localhost")
    leaf = PeerChain((end.getpeercert(binary_form=True),)).leaf
    assert device_identifier(leaf) is not None
    assert isinstance(validate_path(leaf, [], [ICA.certificate], NOW), ValidPath)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])
@pytest.mark.parametrize(
    "key_type", [KeyType.P256, KeyType.P384, KeyType.P521, KeyType.RSA2048], ids=lambda key_type: key_type.value
)
def test_onboarding_certificate_is_accepted_under_its_root(tmp_path, key_type, version):
    """The development CA's root, intermediate and leaf, all of one key type, against a server that trusts the root."""
    root = CertificateAuthority.create_root("dev root", NOW, key_type=key_type, profile=ONBOARDING_ROOT)
    ca = root.issue_intermediate("dev CA", NOW, key_type=key_type, profile=ONBOARDING_INTERMEDIATE)
    key = generate_key(key_type)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=format_pem(SERVER.certificate).decode())
    client.minimum_version = client.maximum_version = version
    leaf = ca.issue_onboarding("sensor-001", key.public_key(), NOW, validity=DAY)
    load_chain(client, tmp_path, key, leaf, ca.certificate)
    end = handshake(server_context(tmp_path, KeyType.P256, trusted=root.certificate), client, "localhost")
    assert end.getpeercert(binary_form=True) == leaf.public_bytes(Encoding.DER)


@pytest.mark.parametrize("host", HOSTS)
def test_server_certificate_covers_every_host(tmp_path, host):
    """Host names and IP addresses, as the stdlib's client checks them."""
    handshake(server_context(tmp_path, KeyType.P256), client_context(tmp_path, KeyType.P256), host)


def test_server_certificate_covers_no_other_host(tmp_path):
    """The check above can fail."""
    with pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for 'hub3\.localhost'"):
        handshake(server_context(tmp_path, KeyType.P256), client_context(tmp_path, KeyType.P256), "hub3.localhost")


def test_device_without_its_intermediate_does_not_reach_the_root(tmp_path):
    """A chain that stops at the leaf is refused by a server that trusts only the root."""
    client = client_context(tmp_path, KeyType.P256, with_intermediate=False)
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        handshake(server_context(tmp_path, KeyType.P256), client, "localhost")
