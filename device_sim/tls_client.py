"""The device's end of a TLS connection: cheap enough for thousands of them to begin in one second."""

import asyncio
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address

from OpenSSL import SSL

from broker.tls import MAX_UNSENT_BYTES, ServerNotTrusted, TlsTransport, failure_of
from device_sim.credential import ClientCertificate

CHUNK_BYTES = 64 * 1024


class DeviceTransport(TlsTransport):
    """A `TlsTransport` that sends what one turn of the loop wrote in one piece.

    A device's last handshake message and its CONNECT, an acknowledgement and the next request, its last packet and
    the end of the connection travel together: fewer system calls on both sides. `ready` is done when the handshake
    is, and `judge` has not raised; it fails with what went wrong.
    """

    __slots__ = ("_has_unsent", "_judge", "ready")

    def __init__(self, tls: SSL.Connection, above: asyncio.Protocol, judge: Callable[[SSL.Connection], None]) -> None:
        super().__init__(tls, lambda: above, _nobody_waits)
        self._has_unsent = False
        self._judge: Callable[[SSL.Connection], None] | None = judge
        self.ready: asyncio.Future[None] | None = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits for the connection, or the protocol above."""
        self._end(exc or ConnectionError("connection lost in the TLS handshake"))
        super().connection_lost(exc)

    def _handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            self._flush()
            return
        except SSL.Error as error:
            self._flush()  # the alert, so that the server can say what it was
            self._end(ConnectionError(f"TLS handshake failed: {failure_of(error)}"))
            self.abort()
            return
        self.established = True
        judge, self._judge = self._judge, None
        assert judge is not None, "a handshake ends once"
        try:
            judge(self._tls)
        except ServerNotTrusted as error:
            self._end(error)
            self.abort()
            return
        self._above = self._established()
        self._established = _nothing
        self._above.connection_made(self)
        # Whoever waits for the connection is woken first, so that its CONNECT goes with our last message.
        self._end(None)
        self._flush_soon()

    def _end(self, error: Exception | None) -> None:
        ready, self.ready = self.ready, None
        if ready is None or ready.done():
            return
        if error is None:
            ready.set_result(None)
        else:
            ready.set_exception(error)

    def forget_credential(self, context: SSL.Context) -> None:
        """Take a context without a certificate in the place of this connection's own: a key is needed only once."""
        self._tls.set_context(context)

    def _read(self) -> None:
        # No flush at the end: what TLS itself has to answer may wait for our next packet (RFC 8446 §4.6.3).
        while not self._closing:
            try:
                data = self._tls.recv(CHUNK_BYTES)
            except SSL.WantReadError:
                return
            except SSL.ZeroReturnError:
                self.close()
                return
            except SSL.Error:
                self.abort()
                return
            above = self._above
            assert isinstance(above, asyncio.Protocol)
            above.data_received(data)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt now, send at the end of the loop's turn."""
        if self._closing or not data:
            return
        try:
            sent = self._tls.send(data)
            while sent < len(data):  # one record at a time
                sent += self._tls.send(memoryview(data)[sent:])
        except SSL.Error:
            self.abort()
            return
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._has_unsent:
            self._has_unsent = True
            asyncio.get_running_loop().call_soon(self._flush_unsent)

    def _flush_unsent(self) -> None:
        if self._has_unsent:
            self._flush()

    def _flush(self) -> None:
        self._has_unsent = False
        tcp = self._tcp
        if tcp is None:
            return
        try:
            data = self._tls.bio_read(CHUNK_BYTES)
            tcp.write(data)
            while len(data) == CHUNK_BYTES:
                data = self._tls.bio_read(CHUNK_BYTES)
                tcp.write(data)
        except SSL.WantReadError:
            return
        if tcp.get_write_buffer_size() > MAX_UNSENT_BYTES:
            self.abort()


def _nobody_waits(_transport: TlsTransport, _failure: str) -> None:
    return


def _nothing() -> asyncio.BaseProtocol:
    raise AssertionError("a handshake ends once")


def client_connection(context: SSL.Context, host: str, certificate: ClientCertificate | None) -> SSL.Connection:
    """Make the client's end of TLS to a host; the intermediates of the certificate are the context's."""
    tls = SSL.Connection(context, None)
    if certificate is not None:
        certificate.identity.present_on(tls)
    server_name = _server_name(host)
    if server_name:
        tls.set_tlsext_host_name(server_name)
    tls.set_connect_state()
    return tls


@lru_cache(maxsize=64)
def _server_name(host: str) -> bytes:
    """Give what SNI names a host with; nothing for an IP address (RFC 6066 §3)."""
    try:
        ip_address(host)
    except ValueError:
        return host.encode("idna")
    return b""
