"""TLS as an asyncio transport that asks every client for a certificate and refuses none in the handshake.

Azure authorises at CONNECT. The stdlib's `ssl` cannot do that (it fails the handshake of an unknown self-signed
client certificate), so this is pyOpenSSL on memory BIOs. OpenSSL proves that the peer holds its leaf's key; it
builds no path (see `_VERIFY_NO_PATH`), because the path, the validity at the emulator's clock and the identity are
the gateway's to judge, once.

Both sides of a connection use it: servers through `TlsServer`, devices through `connect_tls`.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import verification
from OpenSSL import SSL, crypto
from OpenSSL._util import lib

from certs.peer import PeerChain

logger = logging.getLogger("broker")

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

# OpenSSL looks for an issuer while the chain is no longer than the verify depth + 1. Below -1 (which means "not set")
# it looks for none: no signature of a presented certificate is checked in the handshake, however many come.
_VERIFY_NO_PATH: Final = -2

_GROUPS: Final = b"X25519:P-256:P-384:P-521"

# A TLS record holds at most 16 KiB of plaintext (RFC 8446 §5.1).
_RECORD_BYTES: Final = 16 * 1024
_READ_BYTES: Final = 64 * 1024

# A peer that lets this much pile up unread is broken or hostile.
MAX_UNSENT_BYTES: Final = 4 * 1024 * 1024


def _accept_any(_connection: SSL.Connection, _certificate: object, _error: int, _depth: int, _ok: int) -> bool:
    return True


def _new_context() -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    # No resumption: a resumed handshake brings the leaf without its chain, and authenticates an old certificate.
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    _offer_groups(context)
    context.set_verify(SSL.VERIFY_PEER, _accept_any)
    context.set_verify_depth(_VERIFY_NO_PATH)
    return context


def _offer_groups(context: SSL.Context) -> None:
    """Offer the key exchange groups that Azure's front doors know.

    OpenSSL 4 would add a hybrid with ML-KEM, which costs each handshake a tenth and each connection 9 KB. pyOpenSSL has
    no public call for it; without the private one the default list stays, and nothing else changes.
    """
    set_groups = getattr(lib, "SSL_CTX_set1_curves_list", None)
    if set_groups is not None:
        set_groups(context._context, _GROUPS)  # noqa: SLF001


def server_context(certificates: Sequence[tuple[x509.Certificate, PrivateKey]]) -> SSL.Context:
    """Make the context of a listener; TLS picks among the certificates by what the client offers.

    Args:
        certificates: at most one leaf and key for each key type (ECDSA, RSA), all issued by a root directly.
    """
    context = _new_context()
    context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
    for certificate, key in certificates:
        context.use_certificate(certificate)
        context.use_privatekey(key)
        context.check_privatekey()
    return context


def refusing_context() -> SSL.Context:
    """Make a listener's context that has no certificate: every handshake ends with the alert `handshake_failure`."""
    return _new_context()


def client_context() -> SSL.Context:
    """Make the context that all connections of a fleet share; a device's certificate is set on its connection."""
    return _new_context()


class ServerNotTrusted(ConnectionError):
    """The server's certificate is not valid for the host name under the client's trust anchors."""


class ServerTrust:
    """Decides, for a client, whether a server's chain is trusted for a host name.

    A chain that was verified once is not verified again while it is valid, so that a fleet pays once.
    """

    def __init__(self, anchors: Iterable[x509.Certificate]) -> None:
        self._store = verification.Store(list(anchors))
        self._verified: dict[tuple[str, tuple[bytes, ...]], tuple[datetime, datetime]] = {}

    def check(self, host: str, chain: PeerChain, now: datetime) -> None:
        """Return if the server may be talked to.

        Raises:
            ServerNotTrusted: it presented no certificate, or none that is valid for `host`.
        """
        known = self._verified.get((host, chain.der))
        if known is not None and known[0] <= now < known[1]:
            return
        if not chain:
            raise ServerNotTrusted(f"{host} presented no certificate")
        builder = verification.PolicyBuilder().store(self._store).time(now)
        try:
            leaf = chain.leaf
            assert leaf is not None
            builder.build_server_verifier(_subject(host)).verify(leaf, list(chain.intermediates))
        except (verification.VerificationError, ValueError) as error:
            raise ServerNotTrusted(f"certificate of {host} (SHA-1 {chain.sha1_thumbprint}): {error}") from error
        self._verified[host, chain.der] = (leaf.not_valid_before_utc, leaf.not_valid_after_utc)


def _subject(host: str) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


class TlsTransport(asyncio.BufferedProtocol, asyncio.Transport):
    """One TLS connection: a protocol to the TCP transport below, a transport to the protocol above.

    `get_extra_info("peer_chain")` is the peer's `PeerChain` once the protocol above is connected.
    """

    # The loop fills it and calls back before it does anything else, so one buffer serves every connection.
    _buffer = memoryview(bytearray(_READ_BYTES))

    __slots__ = (
        "_above",
        "_closing",
        "_established",
        "_holds_back",
        "_on_handshake_end",
        "_peer_chain",
        "_server_side",
        "_tcp",
        "_tls",
        "established",
    )

    def __init__(
        self,
        tls: SSL.Connection,
        above: Callable[[], asyncio.BaseProtocol],
        on_handshake_end: Callable[["TlsTransport", str], None],
        *,
        server_side: bool = False,
    ) -> None:
        super().__init__()
        self._server_side = server_side
        self._holds_back = False
        self._tls = tls
        self._above: asyncio.BaseProtocol | None = None
        self._established: Callable[[], asyncio.BaseProtocol] = above
        self._on_handshake_end = on_handshake_end
        self._tcp: asyncio.Transport | None = None
        self._peer_chain = PeerChain()
        self._closing = False
        self.established = False

    # --- what the TCP transport calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._tcp = transport
        self._handshake()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._tcp is None:
            return
        self._tls.bio_write(self._buffer[:nbytes])
        if not self.established:
            self._handshake()
        if self.established:
            self._read()

    def eof_received(self) -> bool:
        return False  # TCP half-closed: TLS has no use for the other half

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        if not self.established:
            self._end_handshake("connection lost in the TLS handshake")
        self._tcp = None
        above, self._above = self._above, None
        if above is not None:
            above.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._above is not None:
            self._above.pause_writing()

    def resume_writing(self) -> None:
        if self._above is not None:
            self._above.resume_writing()

    # --- the handshake ---

    def _handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            self._flush()
            return
        except SSL.Error as error:
            self._flush()  # the alert, so that the peer can say what it was
            self._fail(f"TLS handshake failed: {failure_of(error)}")
            return
        # A TLS 1.3 server has nothing left to say but tickets and answers to key updates, which go out with its next
        # record (RFC 8446 §4.6.3); everybody else has a Finished, or a refusal to renegotiate.
        self._holds_back = self._server_side and self._tls.get_protocol_version() == SSL.TLS1_3_VERSION
        if not self._holds_back:
            self._flush()
        self._peer_chain = presented_by(self._tls)
        self.established = True
        self._end_handshake("")
        if self._closing:
            return
        self._above = self._established()
        self._above.connection_made(self)

    def _end_handshake(self, failure: str) -> None:
        # Forgotten at once: it is what ties this connection to its listener.
        on_end, self._on_handshake_end = self._on_handshake_end, _ignore
        on_end(self, failure)

    def _fail(self, reason: str) -> None:
        self._closing = True
        self._end_handshake(reason)
        if self._tcp is not None:
            self._tcp.close()

    # --- records ---

    def _read(self) -> None:
        while not self._closing:
            try:
                data = self._tls.recv(_RECORD_BYTES)
            except SSL.WantReadError:
                break
            except SSL.ZeroReturnError:
                self.close()
                return
            except SSL.Error as error:
                logger.info("%s: TLS error: %s", self.remote, failure_of(error))
                self.abort()
                return
            above = self._above
            assert isinstance(above, asyncio.Protocol)
            above.data_received(data)
        if not self._holds_back:
            self._flush()

    def _flush(self) -> None:
        tcp = self._tcp
        if tcp is None:
            return
        try:
            while True:
                tcp.write(self._tls.bio_read(_READ_BYTES))
        except SSL.WantReadError:
            return

    # --- what the protocol above calls ---

    @property
    def remote(self) -> str:
        """The peer's `address:port`."""
        peer = self.get_extra_info("peername")
        return f"{peer[0]}:{peer[1]}" if peer else "unknown"

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or not data:
            return
        tcp = self._tcp
        if tcp is None:
            return
        try:
            sent = self._tls.send(data)
            while sent < len(data):  # one record at a time
                sent += self._tls.send(memoryview(data)[sent:])
            tcp.write(self._tls.bio_read(_READ_BYTES))
            if sent > _RECORD_BYTES:
                self._flush()
        except SSL.Error as error:
            logger.info("%s: TLS error: %s", self.remote, failure_of(error))
            self.abort()
            return
        if tcp.get_write_buffer_size() > MAX_UNSENT_BYTES:
            logger.warning("%s: closed: it leaves over %d bytes unread", self.remote, MAX_UNSENT_BYTES)
            self.abort()

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        if self._tcp is None:
            return
        if self.established:
            with suppress(SSL.Error):  # the peer is gone: there is nobody to say goodbye to
                self._tls.shutdown()
            self._flush()
        self._tcp.close()

    def abort(self) -> None:
        self._closing = True
        if self._tcp is not None:
            self._tcp.abort()

    def is_closing(self) -> bool:
        return self._closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "peer_chain":
            return self._peer_chain
        if name == "sslcontext":
            return self._tls.get_context()
        return self._tcp.get_extra_info(name, default) if self._tcp is not None else default

    def forget_peer_chain(self) -> None:
        """Let go of the peer's certificates once they have been judged; connections live long."""
        self._peer_chain = PeerChain()

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._above is not None
        return self._above

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._above = protocol

    def pause_reading(self) -> None:
        if self._tcp is not None:
            self._tcp.pause_reading()

    def resume_reading(self) -> None:
        if self._tcp is not None:
            self._tcp.resume_reading()

    def is_reading(self) -> bool:
        return self._tcp is not None and self._tcp.is_reading()

    def get_write_buffer_size(self) -> int:
        return self._tcp.get_write_buffer_size() if self._tcp is not None else 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if self._tcp is not None:
            self._tcp.set_write_buffer_limits(high, low)


def _ignore(_transport: TlsTransport, _failure: str) -> None:
    return


def presented_by(tls: SSL.Connection) -> PeerChain:
    """Give what the peer of a finished handshake presented."""
    leaf = tls.get_peer_certificate()
    if leaf is None:
        return PeerChain()
    # Not parsed here: what OpenSSL takes for a certificate, `cryptography` may refuse.
    rest = tls.get_peer_cert_chain() or []
    ders = [crypto.dump_certificate(crypto.FILETYPE_ASN1, each) for each in (leaf, *rest)]
    # A client sees the server's leaf in the chain too, a server sees a client's only beside it.
    if len(ders) > 1 and ders[1] == ders[0]:
        del ders[1]
    return PeerChain(tuple(ders))


def failure_of(error: SSL.Error) -> str:
    """Say what TLS did not like, in OpenSSL's words."""
    if isinstance(error, SSL.SysCallError):
        return str(error.args[-1])
    entries = error.args[0] if error.args else ()
    return "; ".join(str(entry[-1]) for entry in entries) or type(error).__name__


class TlsServer:
    """A listening TLS socket; each accepted client becomes a `TlsTransport` under `above()`.

    The context can be replaced while it runs (a renewed server certificate). A client that has not finished its
    handshake within `handshake_seconds` is closed by `sweep`, which the owner calls about once a second.
    `context_of_next`, if set, may give the next client another context.
    """

    def __init__(
        self,
        context: SSL.Context,
        above: Callable[[], asyncio.BaseProtocol],
        *,
        handshake_seconds: float = 20,
    ) -> None:
        self.context = context
        self.context_of_next: Callable[[], SSL.Context | None] | None = None
        self._above = above
        self._handshake_seconds = handshake_seconds
        self._handshaking: dict[TlsTransport, float] = {}
        self._servers: list[asyncio.Server] = []

    @property
    def ports(self) -> tuple[int, ...]:
        """The bound ports, one for each address."""
        return tuple(sock.getsockname()[1] for server in self._servers for sock in server.sockets)

    async def listen(self, addresses: Sequence[str], port: int) -> int:
        """Bind every address to one port (0 lets the system choose it) and return the port.

        Raises:
            OSError: an address cannot be bound.
        """
        loop = asyncio.get_running_loop()
        for address in addresses:
            sock = bind(address, port)
            port = sock.getsockname()[1]
            self._servers.append(await loop.create_server(self._accept, sock=sock, backlog=4096))
        return port

    def _accept(self) -> TlsTransport:
        other = self.context_of_next() if self.context_of_next is not None else None
        tls = SSL.Connection(other or self.context, None)
        tls.set_accept_state()
        transport = TlsTransport(tls, self._above, self._handshake_ended, server_side=True)
        self._handshaking[transport] = asyncio.get_running_loop().time() + self._handshake_seconds
        return transport

    def _handshake_ended(self, transport: TlsTransport, failure: str) -> None:
        self._handshaking.pop(transport, None)
        if failure:
            logger.info("%s: %s", transport.remote, failure)

    def sweep(self) -> None:
        """Close the clients whose handshake takes too long."""
        now = asyncio.get_running_loop().time()
        for transport in [each for each, deadline in self._handshaking.items() if deadline < now]:
            logger.info("%s: closed: no TLS handshake within %g s", transport.remote, self._handshake_seconds)
            transport.abort()

    async def close(self) -> None:
        """Stop listening and drop the handshakes under way."""
        for server in self._servers:
            server.close()
        for transport in list(self._handshaking):
            transport.abort()
        self._servers.clear()


def bind(address: str, port: int) -> socket.socket:
    """Make a listening socket.

    Made with IPPROTO_TCP by name: asyncio sets TCP_NODELAY only on such sockets, and without it a small answer
    waits 40 ms for the peer's delayed ACK.

    Raises:
        OSError: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


async def connect_tls(
    host: str,
    port: int,
    above: Callable[[], asyncio.BaseProtocol],
    *,
    context: SSL.Context,
    trust: ServerTrust,
    certificate_chain: Sequence[x509.Certificate] = (),
    key: PrivateKey | None = None,
    address: str | None = None,
) -> TlsTransport:
    """Open a TLS connection to a server and hand it to `above()` once the server is trusted.

    Args:
        host: the name to resolve, to send as SNI and to find in the server's certificate.
        port: TCP port.
        above: makes the protocol that uses the connection.
        context: from `client_context`; shared.
        trust: judges the server's certificate.
        certificate_chain: the client's certificate, leaf first, or nothing.
        key: the leaf's private key.
        address: an IP address of the host's, when it is known already; None resolves the name.

    Raises:
        OSError: no TCP connection.
        ServerNotTrusted: the server's certificate does not hold.
        ConnectionError: the handshake failed.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[str] = loop.create_future()
    tls = _client_connection(host, context, certificate_chain, key)
    transport = TlsTransport(tls, above, _checked(host, trust, done))
    await loop.create_connection(lambda: transport, address or host, port)
    try:
        await done
    except BaseException:
        transport.abort()
        raise
    return transport


def _client_connection(
    host: str, context: SSL.Context, chain: Sequence[x509.Certificate], key: PrivateKey | None
) -> SSL.Connection:
    if len(chain) > 1:
        # pyOpenSSL sets intermediates on a context only, so a device that presents some gets one of its own.
        context = _new_context()
        for intermediate in chain[1:]:
            context.add_extra_chain_cert(intermediate)
    tls = SSL.Connection(context, None)
    if chain and key is not None:
        tls.use_certificate(chain[0])
        tls.use_privatekey(key)
    if not isinstance(_subject(host), x509.IPAddress):
        tls.set_tlsext_host_name(host.encode("idna"))
    tls.set_connect_state()
    return tls


def _checked(host: str, trust: ServerTrust, done: "asyncio.Future[str]") -> Callable[[TlsTransport, str], None]:
    def end(transport: TlsTransport, failure: str) -> None:
        if done.done():
            return
        if failure:
            done.set_exception(ConnectionError(f"{host}: {failure}"))
            return
        try:
            trust.check(host, transport.get_extra_info("peer_chain"), datetime.now(UTC))
        except ServerNotTrusted as error:
            done.set_exception(error)
            transport.abort()
            return
        done.set_result("")

    return end
