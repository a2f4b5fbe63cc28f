"""TLS connections of devices: one trust decision and few contexts for any number of them."""

import asyncio
import copy
import ssl
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning
from OpenSSL import SSL, crypto

from broker.tls import ServerNotTrusted as UntrustedCertificate
from broker.tls import ServerTrust, TcpLink, TlsTransport, client_context, presented_by
from certs.pem import parse_pem_certificates
from device_sim.address_book import AddressBook
from device_sim.credential import ClientCertificate
from device_sim.errors import RequestTimeout, ServerNotTrusted, ServerUnreachable
from device_sim.timer_wheel import TimerWheel
from device_sim.tls_client import DeviceTransport, client_connection


def system_now() -> datetime:
    """Return the machine's time in UTC."""
    return datetime.now(UTC)


TLS12_CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    b"ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384"
)


class Dialer:
    """Opens TLS connections to servers that `trust_anchors` vouch for, host name included.

    Devices of one issuing CA share a context that holds their intermediates: a context costs more than all else
    that a connection needs. `timers` serves all that use this dialer; `link`, if there is one, goes between the
    TCP connection and TLS.
    """

    def __init__(self, trust_anchors: tuple[x509.Certificate, ...]) -> None:
        self.timers = TimerWheel()
        self._trust = ServerTrust(trust_anchors)
        self._now: Callable[[], datetime] = system_now
        self._link: Callable[[asyncio.BufferedProtocol], asyncio.BufferedProtocol] | None = None
        self._contexts: dict[tuple[x509.Certificate, ...], SSL.Context] = {}
        self._addresses = AddressBook(self.timers)

    def variant(
        self,
        *,
        now: Callable[[], datetime] | None = None,
        link: Callable[[asyncio.BufferedProtocol], asyncio.BufferedProtocol] | None = None,
    ) -> Self:
        """Give a dialer that shares all with this one, but judges servers by another clock or has another link."""
        other = copy.copy(self)
        other._now = now or self._now  # noqa: SLF001 - its own kind
        other._link = link or self._link  # noqa: SLF001
        return other

    async def open(
        self,
        host: str,
        port: int,
        protocol: asyncio.Protocol,
        certificate: ClientCertificate | None,
        seconds: float,
        *,
        is_brief: bool = False,
    ) -> TlsTransport:
        """Connect `protocol` to a server within so many seconds; a connection that `is_brief` ends before long.

        Raises:
            ServerUnreachable: no TCP connection, or the handshake failed.
            ServerNotTrusted: the server's certificate does not hold for `host`.
            RequestTimeout: it took too long.
        """
        context = self._context(certificate.presented[1:] if certificate is not None else ())
        tls = client_connection(context, host, certificate)
        transport = DeviceTransport(tls, protocol, partial(self._judge, host))
        ready = transport.ready
        assert ready is not None
        timer = self.timers.schedule(seconds, _expire, ready)
        try:
            await self._connect(host, port, transport, seconds)
            await ready
        except UntrustedCertificate as error:
            raise ServerNotTrusted(str(error)) from error
        except TimeoutError:
            raise RequestTimeout(f"{host}:{port}: no TLS connection within {seconds:g} s") from None
        except OSError as error:
            self._addresses.forget(host)
            raise ServerUnreachable(f"{host}:{port}: {error}") from error
        finally:
            timer.cancel()
            if transport.ready is not None:
                transport.abort()
        if not is_brief:
            transport.forget_credential(self._context(()))
        return transport

    async def _connect(self, host: str, port: int, transport: DeviceTransport, seconds: float) -> None:
        sock = await self._addresses.connect(host, port, seconds)
        TcpLink(sock, transport if self._link is None else self._link(transport)).start()

    def _judge(self, host: str, tls: SSL.Connection) -> None:
        now, leaf = self._now(), tls.get_peer_certificate()
        if leaf is None or not self._trust.knows(host, crypto.dump_certificate(crypto.FILETYPE_ASN1, leaf), now):
            self._trust.check(host, presented_by(tls), now)

    def _context(self, intermediates: tuple[x509.Certificate, ...]) -> SSL.Context:
        context = self._contexts.get(intermediates)
        if context is None:
            context = self._contexts[intermediates] = device_context()
            for intermediate in intermediates:
                context.add_extra_chain_cert(intermediate)
        return context


def device_context() -> SSL.Context:
    """Make a context that offers what the TLS of small devices does, and costs least."""
    context = client_context()
    # ECDHE with AES-GCM, which TLS 1.2 servers of today have; OpenSSL's own long list costs both sides a search.
    context.set_cipher_list(TLS12_CIPHERS)
    # What every TLS 1.3 server has (RFC 8446 §9.1), and a little cheaper than what OpenSSL would agree on by itself.
    context.set_tls13_ciphersuites(b"TLS_AES_128_GCM_SHA256")
    # The server's chain is judged once, by `ServerTrust`, not for every connection in OpenSSL's callback.
    context.set_verify(SSL.VERIFY_NONE)
    return context


def _expire(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_exception(TimeoutError())


def read_trust_anchors(ca_file: Path | None) -> tuple[x509.Certificate, ...]:
    """Read the CA certificates of a PEM file, or those that the system trusts.

    Raises:
        OSError: the file cannot be read, or the system has none.
        ValueError: the file holds no certificate; the message names it.
    """
    if ca_file is not None:
        try:
            return parse_pem_certificates(ca_file.read_bytes())
        except ValueError as error:
            raise ValueError(f"{ca_file}: {error}") from error
    system_file = ssl.get_default_verify_paths().cafile
    if system_file is None:
        raise FileNotFoundError("the system has no file of trusted CA certificates: name one with ca_file")
    with warnings.catch_warnings():
        # Some roots that systems trust have the serial number 0, which is not ours to complain about.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        return parse_pem_certificates(Path(system_file).read_bytes())
