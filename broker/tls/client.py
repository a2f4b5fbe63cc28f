"""TLS connections to servers."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from cryptography import x509
from OpenSSL import SSL

from broker.tls.context import new_context
from broker.tls.transport import TlsTransport
from broker.tls.trust import ServerNotTrusted, ServerTrust, subject_of_host
from certs.keys import PrivateKey


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
        context = new_context()
        for intermediate in chain[1:]:
            context.add_extra_chain_cert(intermediate)
    tls = SSL.Connection(context, None)
    if chain and key is not None:
        tls.use_certificate(chain[0])
        tls.use_privatekey(key)
    if not isinstance(subject_of_host(host), x509.IPAddress):
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
