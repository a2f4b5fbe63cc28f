"""What onboarding costs in cryptography alone: the server's side of it with nothing around, measured in this process.

Two TLS 1.3 handshakes that check a client's P-256 certificate against its P-384 issuing CA as anchor, one check of a
P-256 signing request, one signature with P-384. The handshakes run in memory, with the server's context and OpenSSL
as hublet has them; only the server's turns are timed.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto

from bench.cores import SERVER_CORE, on_core
from broker.tls import client_context, server_context
from certs.authority import CertificateAuthority
from certs.keys import KeyType, generate_key

RECORDS_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class BareCryptography:
    """CPU in µs: one handshake on the server's side, one CSR check, one P-384 signature."""

    handshake: float
    csr_check: float
    signature: float

    @property
    def onboarding(self) -> float:
        """What one device's onboarding cannot do without."""
        return 2 * self.handshake + self.csr_check + self.signature


class BareBench:
    """The certificates and contexts for the measurement; it can be repeated, so that rounds can be interleaved."""

    def __init__(self) -> None:
        now = datetime.now(UTC)
        day = timedelta(days=1)
        self._issuing_ca = CertificateAuthority.create_root("bare root", now).issue_intermediate("bare ICA", now)
        device_key, server_key = generate_key(KeyType.P256), generate_key(KeyType.P256)
        device_leaf = self._issuing_ca.issue_operational(
            "device", device_key.public_key(), uuid4(), now, validity=day, crl_url="http://a/", issuer_url="http://a/"
        )
        server_ca = CertificateAuthority.create_root("bare server CA", now, key_type=KeyType.P256)
        server_leaf = server_ca.issue_server(["localhost"], server_key.public_key(), now, validity=day)
        self._client = client_context()
        self._client.add_extra_chain_cert(self._issuing_ca.certificate)
        self._client.use_certificate(device_leaf)
        self._client.use_privatekey(device_key)
        self._server = _checking(server_context([(server_leaf, server_key)]), self._issuing_ca.certificate)
        self._to_be_signed = device_leaf.tbs_certificate_bytes
        self._csr = _csr(device_key)

    def measure(self, repeats: int = 200) -> BareCryptography:
        """Return the medians of so many repeats, on the server's core."""
        key = self._issuing_ca.key
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        hash_ = ec.ECDSA(hashes.SHA384())
        with on_core(SERVER_CORE):
            return BareCryptography(
                handshake=median(self._handshake() for _ in range(repeats)),
                csr_check=median(_timed(self._check_csr) for _ in range(repeats)),
                signature=median(_timed(lambda: key.sign(self._to_be_signed, hash_)) for _ in range(repeats)),
            )

    def _check_csr(self) -> None:
        assert x509.load_der_x509_csr(self._csr).is_signature_valid

    def _handshake(self) -> float:
        client, server = SSL.Connection(self._client, None), SSL.Connection(self._server, None)
        client.set_connect_state()
        server.set_accept_state()
        spent = 0.0
        records = _turn(client, b"")
        for _ in range(2):  # the server's two turns: its certificate and signature; then the client's checked
            from_client = records
            started = time.thread_time_ns()
            records = _turn(server, from_client)
            spent += (time.thread_time_ns() - started) / 1_000
            records = _turn(client, records)
        assert server.get_peer_certificate() is not None
        return spent


def _turn(side: SSL.Connection, received: bytes) -> bytes:
    """Take what the other side wrote, go on with the handshake, return what there is to write."""
    if received:
        side.bio_write(received)
    with contextlib.suppress(SSL.WantReadError):
        side.do_handshake()
    try:
        return side.bio_read(RECORDS_BYTES)
    except SSL.WantReadError:
        return b""


def _timed(call: Callable[[], object]) -> float:
    started = time.thread_time_ns()
    call()
    return (time.thread_time_ns() - started) / 1_000


def _checking(context: SSL.Context, anchor: x509.Certificate) -> SSL.Context:
    """Let OpenSSL build and check the client's path to the anchor, which hublet leaves to its gateways."""
    context.set_verify_depth(9)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, None)
    store = context.get_cert_store()
    assert store is not None
    store.add_cert(crypto.X509.from_cryptography(anchor))
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    return context


def _csr(key: object) -> bytes:
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "device")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.DER)
