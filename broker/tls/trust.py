"""Whether a client trusts the server it reached."""

from collections.abc import Iterable
from datetime import datetime
from ipaddress import ip_address

from cryptography import x509
from cryptography.x509 import verification

from certs.peer import PeerChain


class ServerNotTrusted(ConnectionError):
    """The server's certificate is not valid for the host name under the client's trust anchors."""


class ServerTrust:
    """Decides, for a client, whether a server's chain is trusted for a host name.

    A leaf that was verified once is not verified again while it is valid, so that a fleet pays once; its server has
    proven in the handshake that it holds the key.
    """

    def __init__(self, anchors: Iterable[x509.Certificate]) -> None:
        self._store = verification.Store(list(anchors))
        self._verified: dict[tuple[str, bytes], tuple[datetime, datetime]] = {}

    def knows(self, host: str, leaf: bytes, now: datetime) -> bool:
        """Tell whether this certificate, in DER, was found trusted for the host before, and is valid now."""
        validity = self._verified.get((host, leaf))
        return validity is not None and validity[0] <= now < validity[1]

    def check(self, host: str, chain: PeerChain, now: datetime) -> None:
        """Return if the server may be talked to.

        Raises:
            ServerNotTrusted: it presented no certificate, or none that is valid for `host`.
        """
        if not chain:
            raise ServerNotTrusted(f"{host} presented no certificate")
        if self.knows(host, chain.der[0], now):
            return
        builder = verification.PolicyBuilder().store(self._store).time(now)
        try:
            leaf = chain.leaf
            assert leaf is not None
            builder.build_server_verifier(subject_of_host(host)).verify(leaf, list(chain.intermediates))
        except (verification.VerificationError, ValueError) as error:
            raise ServerNotTrusted(f"certificate of {host} (SHA-1 {chain.sha1_thumbprint}): {error}") from error
        self._verified[host, chain.der[0]] = (leaf.not_valid_before_utc, leaf.not_valid_after_utc)


def subject_of_host(host: str) -> x509.DNSName | x509.IPAddress:
    """Say how a certificate names a host."""
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
