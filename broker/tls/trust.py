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
            builder.build_server_verifier(subject_of_host(host)).verify(leaf, list(chain.intermediates))
        except (verification.VerificationError, ValueError) as error:
            raise ServerNotTrusted(f"certificate of {host} (SHA-1 {chain.sha1_thumbprint}): {error}") from error
        self._verified[host, chain.der] = (leaf.not_valid_before_utc, leaf.not_valid_after_utc)


def subject_of_host(host: str) -> x509.DNSName | x509.IPAddress:
    """Say how a certificate names a host."""
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
