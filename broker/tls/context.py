"""OpenSSL contexts that ask for a certificate and check none, for both sides of a connection."""

from collections.abc import Sequence
from typing import Final

from cryptography import x509
from OpenSSL import SSL
from OpenSSL._util import lib

from certs.keys import PrivateKey

# OpenSSL looks for an issuer while the chain is no longer than the verify depth + 1. Below -1 (which means "not set")
# it looks for none: no signature of a presented certificate is checked in the handshake, however many come.
_VERIFY_NO_PATH: Final = -2

_GROUPS: Final = b"X25519:P-256:P-384:P-521"


def _accept_any(_connection: SSL.Connection, _certificate: object, _error: int, _depth: int, _ok: int) -> bool:
    return True


def new_context() -> SSL.Context:
    """Make what servers and clients have in common."""
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
    context = new_context()
    context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
    for certificate, key in certificates:
        context.use_certificate(certificate)
        context.use_privatekey(key)
        context.check_privatekey()
    return context


def refusing_context() -> SSL.Context:
    """Make a listener's context that has no certificate: every handshake ends with the alert `handshake_failure`."""
    return new_context()


def client_context() -> SSL.Context:
    """Make the context that all connections of a fleet share; a device's certificate is set on its connection."""
    return new_context()
