import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto

from broker import tls
from broker.tls import (
    MAX_CERTIFICATES,
    MAX_UNSENT_BYTES,
    FileRoom,
    ServerNotTrusted,
    ServerTrust,
    TlsIdentity,
    TlsKey,
    TlsServer,
    TlsTransport,
)
from broker.tls import client as client_side
from broker.tls import context as context_module
from broker.tls.file_room import SPARE_FILES
from certs.authority import CertificateAuthority
from certs.extensions import MalformedCertificate
from certs.keys import KeyType, PrivateKey, generate_key
from certs.peer import PeerChain

# The transport asks for no time, only the client's check of the server's certificate does.
NOW = datetime.now(UTC)
DAY = timedelta(days=1)
VERSIONS = [pytest.param(SSL.TLS1_2_VERSION, id="TLS 1.2"), pytest.param(SSL.TLS1_3_VERSION, id="TLS 1.3")]
CERT_SIGNATURE_FAILURE = 7


@dataclass(frozen=True)
class Identity:
    """A certificate chain, leaf first, and the leaf's key."""

    chain: tuple[x509.Certificate, ...]
    key: PrivateKey

    @property
    def der(self) -> tuple[bytes, ...]:
        return tuple(certificate.public_bytes(Encoding.DER) for certificate in self.chain)


@cache
def authority(name: str) -> CertificateAuthority:
    return CertificateAuthority.create_root(name, NOW, key_type=KeyType.P256)


@cache
def server_identity(key_type: KeyType = KeyType.P256, host: str = "localhost") -> Identity:
    key = generate_key(key_type)
    return Identity((authority("server CA").issue_server([host], key.public_key(), NOW, validity=DAY),), key)


@cache
def client_identity(kind: str) -> Identity:
    key = generate_key(KeyType.P256)
    if kind == "self-signed":
        own = authority("self-signed device")
        return Identity((own.certificate,), own.key)
    if kind == "expired":
        then = NOW - 30 * DAY
        factory = CertificateAuthority.create_root("factory", then, key_type=KeyType.P256)
        return Identity((factory.issue_onboarding("d1", key.public_key(), then, validity=DAY),), key)
    if kind == "RSA":
        key = generate_key(KeyType.RSA2048)
    ica = authority("unknown CA").issue_intermediate("ica", NOW, key_type=KeyType.P256)
    leaf = ica.issue_onboarding("d1", key.public_key(), NOW, validity=DAY)
    return Identity((leaf,) if kind == "leaf only" else (leaf, ica.certificate), key)


def forged_chain(length: int) -> Identity:
    """Certificates whose names make a chain, each with a signature of a key that is not its issuer's."""
    keys, forger = [generate_key(KeyType.P256) for _ in range(length)], generate_key(KeyType.P256)
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"c{n}")]) for n in range(length + 1)]
    chain = [
        x509.CertificateBuilder(names[n + 1], names[n], keys[n].public_key(), n + 1, NOW - DAY, NOW + DAY)
        .add_extension(x509.BasicConstraints(ca=n > 0, path_length=None), critical=True)
        .sign(forger, hashes.SHA256())
        for n in range(length)
    ]
    return Identity(tuple(chain), keys[0])


class MemoryTcp(asyncio.Transport):
    """One end of a TCP connection in memory; `Wire.pump` carries what it holds to the other end."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 50000)})
        self.outgoing = bytearray()
        self.closed = False
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.closed:
            self.outgoing += data

    def get_write_buffer_size(self) -> int:
        return len(self.outgoing)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.outgoing.clear()
        self.closed = self.aborted = True


@dataclass
class Recorder(asyncio.Protocol):
    """The protocol above TLS: keeps what it is told."""

    transport: TlsTransport | None = None
    received: bytearray = field(default_factory=bytearray)
    lost: int = 0
    paused: list[bool] = field(default_factory=list)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, TlsTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost += 1

    def pause_writing(self) -> None:
        self.paused.append(True)

    def resume_writing(self) -> None:
        self.paused.append(False)


class End:
    """One side: the TLS transport, the TCP end below it, the protocol above it."""

    def __init__(self, connection: SSL.Connection) -> None:
        self.above = Recorder()
        self.ended: list[str] = []
        self.tcp = MemoryTcp()
        self.tls = TlsTransport(connection, lambda: self.above, lambda _transport, failure: self.ended.append(failure))
        self.gone = False

    def take(self, data: bytes) -> None:
        for start in range(0, len(data), 4096):
            piece = data[start : start + 4096]
            buffer = self.tls.get_buffer(-1)
            buffer[: len(piece)] = piece
            self.tls.buffer_updated(len(piece))

    def lose(self) -> None:
        if not self.gone:
            self.gone = True
            self.tls.connection_lost(None)

    @property
    def peer_chain(self) -> PeerChain:
        chain: PeerChain = self.tls.get_extra_info("peer_chain")
        return chain


class Wire:
    """Two TLS transports joined in memory."""

    def __init__(self, client: SSL.Connection, server: SSL.Connection) -> None:
        self.client, self.server = End(client), End(server)
        self.server.tls.connection_made(self.server.tcp)
        self.client.tls.connection_made(self.client.tcp)
        self.pump()

    def pump(self) -> None:
        """Carry bytes both ways until none is left, then the closes."""
        ends = ((self.client, self.server), (self.server, self.client))
        while any(sender.tcp.outgoing for sender, _ in ends):
            for sender, receiver in ends:
                data = bytes(sender.tcp.outgoing)
                sender.tcp.outgoing.clear()
                if data and not receiver.tcp.closed:
                    receiver.take(data)
        if self.client.tcp.closed or self.server.tcp.closed:
            self.client.lose()
            self.server.lose()

    @property
    def established(self) -> bool:
        return self.client.tls.established and self.server.tls.established


def accepting(context: SSL.Context) -> SSL.Connection:
    connection = SSL.Connection(context, None)
    connection.set_accept_state()
    return connection


def server_connection(*identities: Identity) -> SSL.Connection:
    return accepting(tls.server_context([(each.chain[0], each.key) for each in identities or (server_identity(),)]))


def client_connection(identity: Identity | None, version: int = 0, ciphers: bytes = b"") -> SSL.Connection:
    context = tls.client_context()
    if version:
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
    if ciphers:
        context.set_cipher_list(ciphers)
    for intermediate in identity.chain[1:] if identity is not None else ():
        context.add_extra_chain_cert(intermediate)
    connection = SSL.Connection(context, None)
    if identity is not None:
        connection.use_certificate(identity.chain[0])
        connection.use_privatekey(identity.key)
    connection.set_connect_state()
    return connection


class StdlibClient:
    """A client of Python's `ssl`, the second opinion, against our server."""

    def __init__(self, server: SSL.Context, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost", session=session)
        self.server = End(accepting(server))
        self.server.tls.connection_made(self.server.tcp)
        for _ in range(4):
            with suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
            self._carry()
        with suppress(ssl.SSLWantReadError):  # takes in the session tickets that TLS 1.3 would bring
            self.tls.read(1)

    def _carry(self) -> None:
        self.server.take(self._outgoing.read())
        self._incoming.write(bytes(self.server.tcp.outgoing))
        self.server.tcp.outgoing.clear()


@pytest.fixture
def wire() -> Wire:
    wire = Wire(client_connection(client_identity("unknown CA")), server_connection())
    assert wire.established
    return wire


class TestHandshake:
    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize("kind", ["self-signed", "expired", "unknown CA", "leaf only", "RSA"])
    def test_any_client_certificate_passes_and_is_handed_up(self, kind: str, version: int) -> None:
        identity = client_identity(kind)
        wire = Wire(client_connection(identity, version), server_connection())
        assert wire.established
        assert wire.server.peer_chain == PeerChain(identity.der)
        assert wire.server.above.transport is wire.server.tls
        assert wire.server.ended == [""]

    @pytest.mark.parametrize("version", VERSIONS)
    def test_client_without_certificate_passes_with_an_empty_chain(self, version: int) -> None:
        wire = Wire(client_connection(None, version), server_connection())
        assert wire.established
        assert wire.server.peer_chain == PeerChain()

    @pytest.mark.parametrize("version", VERSIONS)
    def test_client_sees_the_servers_leaf_once(self, version: int) -> None:
        wire = Wire(client_connection(None, version), server_connection())
        assert wire.client.peer_chain == PeerChain(server_identity().der)

    def test_certificate_that_cannot_be_parsed_passes_and_is_the_gateways_trouble(self) -> None:
        der = client_identity("self-signed").der[0]
        version_10 = der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x09", 1)
        client = client_connection(client_identity("self-signed"))
        with pytest.warns(DeprecationWarning):
            client.use_certificate(crypto.load_certificate(crypto.FILETYPE_ASN1, version_10))
        wire = Wire(client, server_connection())
        assert wire.established
        assert wire.server.peer_chain.der == (version_10,)
        with pytest.raises(MalformedCertificate):
            _ = wire.server.peer_chain.leaf

    @pytest.mark.parametrize("version", VERSIONS)
    def test_key_that_is_not_the_certificates_fails_the_handshake(self, version: int) -> None:
        identity = client_identity("unknown CA")
        client = client_connection(identity, version)
        with pytest.warns(DeprecationWarning):  # pyOpenSSL would rather have a key that `cryptography` checked
            client.use_privatekey(impostor_key(identity.key))
        wire = Wire(client, server_connection())
        assert not wire.server.tls.established
        assert wire.server.above.transport is None
        (failure,) = wire.server.ended
        assert "bad signature" in failure

    def test_tls_1_1_is_refused(self) -> None:
        context = tls.client_context()
        context.set_min_proto_version(SSL.TLS1_1_VERSION)
        context.set_max_proto_version(SSL.TLS1_1_VERSION)
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
        client = SSL.Connection(context, None)
        client.set_connect_state()
        assert not Wire(client, server_connection()).server.tls.established

    @pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", bytes(100), b"\x16\x03\x01\xff\xff" + bytes(70000)])
    def test_garbage_fails_the_handshake_and_closes(self, garbage: bytes) -> None:
        server = End(server_connection())
        server.tls.connection_made(server.tcp)
        server.take(garbage)
        assert server.tcp.closed
        assert len(server.ended) == 1
        assert server.ended[0].startswith("TLS handshake failed: ")
        assert server.above.transport is None

    def test_client_that_leaves_in_the_handshake_is_reported(self) -> None:
        server = End(server_connection())
        server.tls.connection_made(server.tcp)
        server.lose()
        assert server.ended == ["connection lost in the TLS handshake"]
        assert server.above.lost == 0

    def test_bytes_sent_with_the_end_of_the_handshake_are_not_lost(self) -> None:
        client = client_connection(None, SSL.TLS1_3_VERSION)
        server = End(server_connection())
        server.tls.connection_made(server.tcp)
        with suppress(SSL.WantReadError):
            client.do_handshake()
        server.take(client.bio_read(65536))
        client.bio_write(bytes(server.tcp.outgoing))
        client.do_handshake()
        client.send(b"on the heels")
        server.take(client.bio_read(65536))
        assert server.above.received == b"on the heels"


def impostor_key(key: PrivateKey) -> crypto.PKey:
    """A key object with the public part of `key` and another private part, as OpenSSL lets one load it."""
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    other = ec.generate_private_key(key.curve)
    secret, impostor = (each.private_numbers().private_value.to_bytes(32, "big") for each in (key, other))
    der = key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    assert der.count(secret) == 1
    return crypto.load_privatekey(crypto.FILETYPE_ASN1, der.replace(secret, impostor))


class TestPathIsNotBuilt:
    @pytest.fixture
    def verifications(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
        """Each (error, depth) that OpenSSL asks about."""
        seen: list[tuple[int, int]] = []

        def ask(_connection: object, _certificate: object, error: int, depth: int, _ok: int) -> bool:
            seen.append((error, depth))
            return True

        monkeypatch.setattr(context_module, "_accept_any", ask)
        return seen

    def test_no_signature_of_the_longest_forged_chain_is_checked(self, verifications: list[tuple[int, int]]) -> None:
        identity = forged_chain(MAX_CERTIFICATES)
        wire = Wire(client_connection(identity), server_connection())
        assert wire.established
        assert wire.server.peer_chain == PeerChain(identity.der)
        assert max(depth for _, depth in verifications) == 0
        assert CERT_SIGNATURE_FAILURE not in {error for error, _ in verifications}
        assert len(verifications) <= 8  # of both sides, however long the chain is

    def test_chain_that_is_longer_ends_the_connection(self) -> None:
        wire = Wire(client_connection(forged_chain(MAX_CERTIFICATES + 1)), server_connection())
        assert not wire.server.tls.established
        assert wire.server.gone

    def test_openssl_left_alone_would_check_them(self, verifications: list[tuple[int, int]]) -> None:
        context = tls.server_context([(server_identity().chain[0], server_identity().key)])
        context.set_verify_depth(100)
        assert Wire(client_connection(forged_chain(10)), accepting(context)).established
        assert CERT_SIGNATURE_FAILURE in {error for error, _ in verifications}


class TestServerCertificate:
    @pytest.mark.parametrize(
        ("ciphers", "key_type"),
        [
            (b"ECDHE-RSA-AES128-GCM-SHA256", rsa.RSAPublicKey),
            (b"ECDHE-ECDSA-AES128-GCM-SHA256", ec.EllipticCurvePublicKey),
        ],
        ids=["RSA only", "ECDSA only"],
    )
    @pytest.mark.parametrize("order", [[KeyType.P256, KeyType.RSA2048], [KeyType.RSA2048, KeyType.P256]])
    def test_client_gets_the_one_it_can_check(
        self, order: list[KeyType], ciphers: bytes, key_type: type[object]
    ) -> None:
        server = server_connection(*(server_identity(each) for each in order))
        wire = Wire(client_connection(None, SSL.TLS1_2_VERSION, ciphers), server)
        assert wire.established
        assert wire.client.peer_chain.leaf is not None
        assert isinstance(wire.client.peer_chain.leaf.public_key(), key_type)

    @pytest.mark.parametrize("version", VERSIONS)
    def test_client_that_can_check_both_gets_the_cheap_one(self, version: int) -> None:
        server = server_connection(server_identity(KeyType.RSA2048), server_identity(KeyType.P256))
        wire = Wire(client_connection(None, version), server)
        assert wire.client.peer_chain.leaf is not None
        assert isinstance(wire.client.peer_chain.leaf.public_key(), ec.EllipticCurvePublicKey)

    def test_key_of_another_certificate_is_refused_at_start(self) -> None:
        with pytest.raises(SSL.Error):
            tls.server_context([(server_identity().chain[0], generate_key(KeyType.P256))])


@pytest.mark.parametrize(
    "version", [pytest.param(ssl.TLSVersion.TLSv1_2, id="TLS 1.2"), pytest.param(ssl.TLSVersion.TLSv1_3, id="TLS 1.3")]
)
class TestResumption:
    @pytest.fixture
    def device(self, version: ssl.TLSVersion, tmp_path: Any) -> ssl.SSLContext:
        identity = client_identity("leaf only")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = context.maximum_version = version
        root = authority("server CA").certificate.public_bytes(Encoding.PEM).decode()
        context.load_verify_locations(cadata=root)
        pem = tmp_path / "device.pem"
        pem.write_bytes(
            identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + identity.chain[0].public_bytes(Encoding.PEM)
        )
        context.load_cert_chain(pem)
        return context

    def resume(self, first: SSL.Context, second: SSL.Context, device: ssl.SSLContext) -> StdlibClient:
        """Connect to one context, then offer its session to another."""
        session = StdlibClient(first, device).tls.session
        assert session is not None
        client = StdlibClient(second, device, session)
        assert client.server.tls.established
        return client

    def test_session_is_not_resumed_and_the_certificate_is_asked_again(self, device: ssl.SSLContext) -> None:
        context = tls.server_context([(server_identity().chain[0], server_identity().key)])
        client = self.resume(context, context, device)
        assert not client.tls.session_reused
        assert client.server.peer_chain == PeerChain(client_identity("leaf only").der)

    def test_session_of_a_server_that_resumes_is_not_resumed_either(self, device: ssl.SSLContext) -> None:
        client = self.resume(
            self.resuming(), tls.server_context([(server_identity().chain[0], server_identity().key)]), device
        )
        assert not client.tls.session_reused
        assert client.server.peer_chain

    def test_context_left_alone_would_resume(self, device: ssl.SSLContext) -> None:
        context = self.resuming()
        assert self.resume(context, context, device).tls.session_reused

    def resuming(self) -> SSL.Context:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_session_id(b"hublet")
        context.use_certificate(server_identity().chain[0])
        context.use_privatekey(server_identity().key)
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        return context


class TestRecords:
    @pytest.mark.parametrize("size", [1, 16 * 1024, 16 * 1024 + 1, 300_000])
    def test_bytes_arrive_whole_both_ways(self, wire: Wire, size: int) -> None:
        data = bytes(range(256)) * (size // 256 + 1)
        for sender, receiver in ((wire.client, wire.server), (wire.server, wire.client)):
            sender.tls.write(data[:size])
            wire.pump()
            assert receiver.above.received == data[:size]

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_any_kind_of_bytes_is_written(self, wire: Wire, kind: Callable[[bytes], Any]) -> None:
        wire.server.tls.write(kind(bytes(40_000)))
        wire.server.tls.writelines([kind(b"a"), kind(b""), kind(b"b")])
        wire.pump()
        assert wire.client.above.received == bytes(40_000) + b"ab"

    def test_nothing_written_is_nothing_sent(self, wire: Wire) -> None:
        wire.server.tls.write(b"")
        assert not wire.server.tcp.outgoing

    def test_peer_that_leaves_too_much_unread_is_aborted(self, wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
        writes = 0
        while not wire.server.tcp.aborted:
            wire.server.tls.write(bytes(100_000))
            writes += 1
        assert MAX_UNSENT_BYTES // 100_000 <= writes <= MAX_UNSENT_BYTES // 100_000 + 1
        assert "leaves over 4194304 bytes unread" in caplog.text
        assert wire.server.tls.is_closing()

    def test_tampered_record_aborts_and_the_protocol_hears_of_it(self, wire: Wire) -> None:
        wire.client.tls.write(b"telemetry")
        wire.client.tcp.outgoing[-1] ^= 1
        wire.pump()
        assert wire.server.tcp.aborted
        assert wire.server.above.received == b""
        assert wire.server.above.lost == 1

    def test_plain_text_in_an_established_connection_aborts(self, wire: Wire) -> None:
        wire.server.take(b"\x30\x05\x00\x01aXX")
        assert wire.server.tcp.aborted

    def test_renegotiation_is_refused(self) -> None:
        client = SSL.Connection(SSL.Context(SSL.TLSv1_2_METHOD), None)
        client.set_connect_state()
        wire = Wire(client, server_connection())
        assert wire.established
        client.renegotiate()
        with suppress(SSL.WantReadError):
            client.do_handshake()
        wire.server.take(client.bio_read(65536))
        client.bio_write(bytes(wire.server.tcp.outgoing))
        with pytest.raises(SSL.Error, match="no renegotiation"):
            client.do_handshake()


class TestClose:
    def test_goodbye_of_one_side_closes_the_other(self, wire: Wire) -> None:
        wire.client.tls.write(b"last words")
        wire.client.tls.close()
        wire.pump()
        assert wire.server.above.received == b"last words"
        assert wire.server.tcp.closed
        assert not wire.server.tcp.aborted
        assert (wire.client.above.lost, wire.server.above.lost) == (1, 1)

    def test_half_closed_tcp_closes(self, wire: Wire) -> None:
        assert wire.server.tls.eof_received() is False

    def test_closed_transport_takes_no_more(self, wire: Wire) -> None:
        wire.server.tls.close()
        wire.pump()
        wire.server.tls.write(b"too late")
        wire.server.tls.close()
        wire.server.tls.abort()
        wire.server.take(b"too late")
        assert not wire.server.tcp.outgoing
        assert wire.client.above.received == b""

    def test_protocol_that_closes_gets_nothing_more_of_the_same_bytes(self) -> None:
        class Closer(Recorder):
            def data_received(self, data: bytes) -> None:
                super().data_received(data)
                assert self.transport is not None
                self.transport.close()

        client = client_connection(None)
        wire = Wire(client, server_connection())
        closer = Closer(wire.server.tls)
        wire.server.tls.set_protocol(closer)
        assert wire.server.tls.get_protocol() is closer
        wire.client.tls.write(b"x" * 16384)
        wire.client.tls.write(b"y" * 16384)
        wire.pump()
        assert closer.received == b"x" * 16384

    def test_close_before_the_handshake_closes_tcp(self) -> None:
        server = End(server_connection())
        server.tls.connection_made(server.tcp)
        server.tls.close()
        assert server.tcp.closed

    def test_listener_that_aborts_at_the_end_of_the_handshake_makes_no_protocol(self) -> None:
        server = End(server_connection())
        server.tls._on_handshake_end = lambda transport, failure: transport.abort()
        client = End(client_connection(None, SSL.TLS1_3_VERSION))
        server.tls.connection_made(server.tcp)
        client.tls.connection_made(client.tcp)
        for _ in range(2):
            server.take(bytes(client.tcp.outgoing))
            client.tcp.outgoing.clear()
            client.take(bytes(server.tcp.outgoing))
            server.tcp.outgoing.clear()
        assert server.tls.established
        assert server.above.transport is None


class TestTransport:
    def test_says_who_the_peer_is_while_it_is_connected(self, wire: Wire) -> None:
        assert wire.server.tls.remote == "192.0.2.1:50000"
        assert isinstance(wire.server.tls.get_extra_info("sslcontext"), SSL.Context)
        wire.server.lose()
        assert wire.server.tls.remote == "unknown"
        assert wire.server.tls.get_extra_info("socket", "none") == "none"

    def test_flow_control_reaches_the_protocol_above(self, wire: Wire) -> None:
        wire.server.tls.pause_writing()
        wire.server.tls.resume_writing()
        assert wire.server.above.paused == [True, False]

    def test_flow_control_without_a_protocol_above_is_nobodys(self) -> None:
        server = End(server_connection())
        server.tls.pause_writing()
        server.tls.resume_writing()
        assert server.above.paused == []

    def test_reading_is_tcps_matter(self, wire: Wire) -> None:
        asked: list[str] = []
        for name in ("pause_reading", "resume_reading", "is_reading", "set_write_buffer_limits"):
            setattr(wire.server.tcp, name, lambda *_, name=name: not asked.append(name))  # type: ignore[func-returns-value]
        wire.server.tls.pause_reading()
        wire.server.tls.resume_reading()
        wire.server.tls.set_write_buffer_limits(10, 5)
        assert wire.server.tls.is_reading()
        assert wire.server.tls.get_write_buffer_size() == 0
        assert asked == ["pause_reading", "resume_reading", "set_write_buffer_limits", "is_reading"]
        assert not wire.server.tls.can_write_eof()

    def test_without_tcp_nothing_is_asked(self) -> None:
        transport = TlsTransport(server_connection(), Recorder, lambda _transport, _failure: None)
        transport.pause_reading()
        transport.resume_reading()
        transport.set_write_buffer_limits()
        transport.write(b"x")
        transport.buffer_updated(5)
        transport._flush()
        transport.close()
        assert not transport.is_reading()
        assert transport.get_write_buffer_size() == 0


class TestServerTrust:
    def chain(self, *, host: str = "localhost", at: datetime = NOW, ca: str = "server CA") -> PeerChain:
        key = generate_key(KeyType.P256)
        leaf = authority(ca).issue_server([host], key.public_key(), at, validity=DAY)
        return PeerChain((leaf.public_bytes(Encoding.DER),))

    @pytest.fixture
    def trust(self) -> ServerTrust:
        return ServerTrust([authority("server CA").certificate])

    @pytest.mark.parametrize("host", ["localhost", "hub1.example.net", "127.0.0.1", "::1"])
    def test_host_of_the_certificate_is_trusted(self, trust: ServerTrust, host: str) -> None:
        trust.check(host, self.chain(host=host), NOW)

    def test_chain_over_an_intermediate_is_trusted(self) -> None:
        root = CertificateAuthority.create_root("root", NOW, key_type=KeyType.P256)
        ica = root.issue_intermediate("ica", NOW, key_type=KeyType.P256)
        leaf = ica.issue_server(["localhost"], generate_key(KeyType.P256).public_key(), NOW, validity=DAY)
        chain = PeerChain(tuple(each.public_bytes(Encoding.DER) for each in (leaf, ica.certificate)))
        ServerTrust([root.certificate]).check("localhost", chain, NOW)
        with pytest.raises(ServerNotTrusted):
            ServerTrust([root.certificate]).check("localhost", PeerChain(chain.der[:1]), NOW)

    @pytest.mark.parametrize("host", ["other", "127.0.0.1", "localhost.evil.example", ""])
    def test_other_host_is_refused(self, trust: ServerTrust, host: str) -> None:
        with pytest.raises(ServerNotTrusted, match="certificate of"):
            trust.check(host, self.chain(), NOW)

    def test_unknown_ca_is_refused(self, trust: ServerTrust) -> None:
        with pytest.raises(ServerNotTrusted):
            trust.check("localhost", self.chain(ca="other CA"), NOW)

    @pytest.mark.parametrize("after", [2 * DAY, -DAY], ids=["expired", "not yet valid"])
    def test_certificate_out_of_its_period_is_refused(self, trust: ServerTrust, after: timedelta) -> None:
        with pytest.raises(ServerNotTrusted):
            trust.check("localhost", self.chain(), NOW + after)

    def test_server_without_certificate_is_refused(self, trust: ServerTrust) -> None:
        with pytest.raises(ServerNotTrusted, match="presented no certificate"):
            trust.check("localhost", PeerChain(), NOW)

    def test_malformed_certificate_is_refused(self, trust: ServerTrust) -> None:
        with pytest.raises(ServerNotTrusted):
            trust.check("localhost", PeerChain((b"not a certificate",)), NOW)

    def test_clients_certificate_is_not_a_servers(self, trust: ServerTrust) -> None:
        leaf = authority("server CA").issue_onboarding(
            "localhost", generate_key(KeyType.P256).public_key(), NOW, validity=DAY
        )
        with pytest.raises(ServerNotTrusted):
            trust.check("localhost", PeerChain((leaf.public_bytes(Encoding.DER),)), NOW)

    def test_trusted_chain_is_verified_once_for_a_host(
        self, trust: ServerTrust, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        chain = self.chain()
        trust.check("localhost", chain, NOW)
        monkeypatch.setattr(trust, "_store", None)
        trust.check("localhost", chain, NOW)
        for host, at in (("other", NOW), ("localhost", NOW + 2 * DAY)):
            with pytest.raises((ServerNotTrusted, TypeError)):
                trust.check(host, chain, at)

    def test_trusted_leaf_is_known_for_its_host_while_it_is_valid(self, trust: ServerTrust) -> None:
        chain = self.chain()
        assert not trust.knows("localhost", chain.der[0], NOW)
        trust.check("localhost", chain, NOW)
        assert trust.knows("localhost", chain.der[0], NOW)
        for host, leaf, at in (
            ("other", chain.der[0], NOW),
            ("localhost", self.chain().der[0], NOW),
            ("localhost", chain.der[0], NOW + 2 * DAY),
            ("localhost", chain.der[0], NOW - DAY),
        ):
            assert not trust.knows(host, leaf, at)

    def test_leaf_that_was_not_trusted_is_not_known(self, trust: ServerTrust) -> None:
        chain = self.chain(ca="other CA")
        with pytest.raises(ServerNotTrusted):
            trust.check("localhost", chain, NOW)
        assert not trust.knows("localhost", chain.der[0], NOW)

    async def test_client_that_does_not_trust_the_server_never_talks(self) -> None:
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        wire_client = client_connection(client_identity("unknown CA"))
        end = End(wire_client)
        end.tls._on_handshake_end = client_side._checked(
            "localhost", ServerTrust([authority("other CA").certificate]), done
        )
        server = End(server_connection())
        server.tls.connection_made(server.tcp)
        end.tls.connection_made(end.tcp)
        server.take(bytes(end.tcp.outgoing))
        end.take(bytes(server.tcp.outgoing))
        assert end.tcp.aborted
        assert end.above.transport is None
        with pytest.raises(ServerNotTrusted):
            await done


class TestClientConnection:
    def test_presents_the_chain_with_its_intermediates(self) -> None:
        identity = client_identity("unknown CA")
        client = client_side._client_connection("localhost", tls.client_context(), identity.chain, identity.key)
        wire = Wire(client, server_connection())
        assert wire.server.peer_chain == PeerChain(identity.der)

    def test_intermediates_of_one_device_do_not_leak_into_the_shared_context(self) -> None:
        context, identity = tls.client_context(), client_identity("unknown CA")
        client_side._client_connection("localhost", context, identity.chain, identity.key)
        wire = Wire(
            client_side._client_connection("localhost", context, identity.chain[:1], identity.key), server_connection()
        )
        assert wire.server.peer_chain == PeerChain(identity.der[:1])

    @pytest.mark.parametrize(("host", "name"), [("hub1.localhost", b"hub1.localhost"), ("127.0.0.1", None)])
    def test_sends_a_host_name_but_no_address_as_sni(self, host: str, name: bytes | None) -> None:
        server = server_connection()
        wire = Wire(client_side._client_connection(host, tls.client_context(), (), None), server)
        assert wire.established
        assert server.get_servername() == name


class TestTlsIdentity:
    @pytest.mark.parametrize("kind", ["unknown CA", "RSA"])
    def test_is_presented_on_any_number_of_connections(self, kind: str) -> None:
        owner = client_identity(kind)
        identity = TlsIdentity(owner.der[0], TlsKey(owner.key))
        for _ in range(2):
            client = client_connection(None)
            identity.present_on(client)
            wire = Wire(client, server_connection())
            assert wire.established
            assert wire.server.peer_chain == PeerChain(owner.der[:1])

    def test_key_of_another_certificate_is_refused_and_leaves_no_error_to_the_next_connection(self) -> None:
        identity = TlsIdentity(client_identity("unknown CA").der[0], TlsKey(generate_key(KeyType.P256)))
        client = client_connection(None)
        with pytest.raises(ValueError, match="not the certificate's"):
            identity.present_on(client)
        assert Wire(client_connection(None), server_connection()).established


class TestRoomForClients:
    @pytest.mark.parametrize(
        ("most", "number", "admitted"),
        [(256, 256 - SPARE_FILES - 1, True), (256, 256 - SPARE_FILES, False), (None, 99_999, True)],
        ids=["last client", "only spare files left", "no limit"],
    )
    def test_the_spare_files_are_not_for_clients(self, most: int | None, number: int, admitted: bool) -> None:
        assert FileRoom(lambda: most, lambda: 0.0).admits(number) is admitted

    def test_warning_names_the_limit_and_comes_every_ten_seconds(self, caplog: pytest.LogCaptureFixture) -> None:
        seconds = [0.0]
        room = FileRoom(lambda: 256, lambda: seconds[0])
        for _ in range(500):
            room.admits(250)
        assert len(caplog.records) == 1
        assert "this process may open 256 files (ulimit -Hn)" in caplog.text
        seconds[0] = 10
        room.admits(250)
        assert len(caplog.records) == 2
        assert "501 refused so far" in caplog.text


class TestServerBookkeeping:
    """What `TlsServer` keeps of the handshakes under way; its sockets are tested with sockets."""

    @pytest.fixture
    async def server(self) -> TlsServer:
        context = tls.server_context([(server_identity().chain[0], server_identity().key)])
        return TlsServer(context, Recorder, handshake_seconds=20)

    def accept(self, server: TlsServer) -> tuple[TlsTransport, MemoryTcp]:
        transport, tcp = server._accept(), MemoryTcp()
        transport.connection_made(tcp)
        return transport, tcp

    async def test_handshake_that_takes_too_long_is_aborted(
        self, server: TlsServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        _, tcp = self.accept(server)
        loop = asyncio.get_running_loop()
        started = loop.time()
        monkeypatch.setattr(loop, "time", lambda: started + 19)
        server.sweep()
        assert not tcp.aborted
        monkeypatch.setattr(loop, "time", lambda: started + 21)
        with caplog.at_level("INFO"):
            server.sweep()
        assert tcp.aborted
        assert "no TLS handshake within 20 s" in caplog.text

    async def test_dripping_client_hello_does_not_buy_time(
        self, server: TlsServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        transport, tcp = self.accept(server)
        loop = asyncio.get_running_loop()
        started = loop.time()
        for second in range(30):
            monkeypatch.setattr(loop, "time", lambda second=second: started + second)
            transport.get_buffer(-1)[:1] = b"\x16\x03\x01\x02\x00"[second : second + 1] or b"\x00"
            transport.buffer_updated(1)
            server.sweep()
        assert tcp.closed

    async def test_ended_handshake_is_forgotten(self, server: TlsServer) -> None:
        for _ in range(3):
            transport, _ = self.accept(server)
            transport.connection_lost(None)
        assert server._handshaking == {}

    async def test_close_aborts_the_handshakes_under_way(self, server: TlsServer) -> None:
        _, tcp = self.accept(server)
        await server.close()
        assert tcp.aborted
