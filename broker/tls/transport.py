"""One TLS connection on memory BIOs, as an asyncio transport."""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from OpenSSL import SSL, crypto

from certs.peer import PeerChain

logger = logging.getLogger("broker")

# A TLS record holds at most 16 KiB of plaintext (RFC 8446 §5.1).
_RECORD_BYTES: Final = 16 * 1024
_READ_BYTES: Final = 64 * 1024

# OpenSSL keeps what a peer presented as long as the connection, at 6 KB a certificate, known to us or not. A path has
# at most ten, so a chain of eleven is still explained at CONNECT (assumed).
MAX_CERTIFICATES: Final = 16

# A peer that lets this much pile up unread is broken or hostile.
MAX_UNSENT_BYTES: Final = 4 * 1024 * 1024

_NO_CHAIN: Final = PeerChain()


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
        self._peer_chain = _NO_CHAIN
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
        if self._holds_back:
            self._acknowledge()
        else:
            self._flush()
        self._peer_chain = presented_by(self._tls)
        if len(self._peer_chain.der) > MAX_CERTIFICATES:
            self._fail(f"presents {len(self._peer_chain.der)} certificates, {MAX_CERTIFICATES} are taken")
            return
        self.established = True
        self._end_handshake("")
        if self._closing:
            return
        self._above = self._established()
        self._above.connection_made(self)

    def _acknowledge(self) -> None:
        """Acknowledge the client's Finished though nothing is sent back with it.

        A client with Nagle's algorithm on holds its CONNECT until then, and the kernel would wait 40 ms.
        """
        sock = self.get_extra_info("socket")
        if sock is not None and hasattr(socket, "TCP_QUICKACK"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

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
        self._peer_chain = _NO_CHAIN

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
