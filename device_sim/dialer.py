"""TLS connections of devices: one trust decision and few contexts for any number of them."""

import asyncio
import ssl
import warnings
from pathlib import Path

from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning
from OpenSSL import SSL

from broker.tls import ServerNotTrusted as UntrustedCertificate
from broker.tls import ServerTrust, TlsTransport, client_context, connect_tls
from certs.pem import parse_pem_certificates
from device_sim.credential import ClientCertificate
from device_sim.errors import RequestTimeout, ServerNotTrusted, ServerUnreachable


class Dialer:
    """Opens TLS connections to servers that `trust_anchors` vouch for, host name included.

    Devices of one issuing CA share a context that holds their intermediates: a context costs more than all else
    that a connection needs.
    """

    def __init__(self, trust_anchors: tuple[x509.Certificate, ...]) -> None:
        self._trust = ServerTrust(trust_anchors)
        self._contexts: dict[tuple[x509.Certificate, ...], SSL.Context] = {}
        # Where a host answered last: asking the resolver for every device costs more than the connection's TCP part.
        self._addresses: dict[str, str] = {}

    async def open(
        self, host: str, port: int, protocol: asyncio.Protocol, certificate: ClientCertificate | None, seconds: float
    ) -> TlsTransport:
        """Connect `protocol` to a server within so many seconds.

        Raises:
            ServerUnreachable: no TCP connection, or the handshake failed.
            ServerNotTrusted: the server's certificate does not hold for `host`.
            RequestTimeout: it took too long.
        """
        presented = certificate.presented if certificate is not None else ()
        try:
            async with asyncio.timeout(seconds):
                transport = await connect_tls(
                    host,
                    port,
                    lambda: protocol,
                    context=self._context(presented[1:]),
                    trust=self._trust,
                    certificate_chain=presented[:1],
                    key=certificate.key if certificate is not None else None,
                    address=self._addresses.get(host),
                )
        except UntrustedCertificate as error:
            raise ServerNotTrusted(str(error)) from error
        except TimeoutError:
            raise RequestTimeout(f"{host}:{port}: no TLS connection within {seconds:g} s") from None
        except OSError as error:
            self._addresses.pop(host, None)
            raise ServerUnreachable(f"{host}:{port}: {error}") from error
        self._remember(host, transport)
        return transport

    def _remember(self, host: str, transport: TlsTransport) -> None:
        peer = transport.get_extra_info("peername")
        if peer:
            self._addresses[host] = peer[0]

    def _context(self, intermediates: tuple[x509.Certificate, ...]) -> SSL.Context:
        context = self._contexts.get(intermediates)
        if context is None:
            context = self._contexts[intermediates] = client_context()
            for intermediate in intermediates:
                context.add_extra_chain_cert(intermediate)
        return context


def read_trust_anchors(ca_file: Path | None) -> tuple[x509.Certificate, ...]:
    """Read the CA certificates of a PEM file, or those that the system trusts.

    Raises:
        OSError: the file cannot be read, or the system has none.
        ValueError: the file holds no certificate.
    """
    if ca_file is not None:
        return parse_pem_certificates(ca_file.read_bytes())
    system_file = ssl.get_default_verify_paths().cafile
    if system_file is None:
        raise FileNotFoundError("the system has no file of trusted CA certificates: name one with ca_file")
    with warnings.catch_warnings():
        # Some roots that systems trust have the serial number 0, which is not ours to complain about.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        return parse_pem_certificates(Path(system_file).read_bytes())
