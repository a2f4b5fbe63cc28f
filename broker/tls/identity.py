"""What one end of a connection presents, as OpenSSL has it."""

from typing import Any

from OpenSSL import SSL, crypto
from OpenSSL._util import lib

from certs.keys import PrivateKey


class TlsKey:
    """A private key as OpenSSL has it; the conversion is dear enough to be done before it is needed."""

    __slots__ = ("handle",)

    def __init__(self, key: PrivateKey) -> None:
        self.handle: Any = crypto.PKey.from_cryptography_key(key)._pkey  # noqa: SLF001


class TlsIdentity:
    """A certificate, given as DER, and its private key, converted once, however many connections present them.

    pyOpenSSL writes both as DER and has OpenSSL read them again for every connection, which is half of what a
    connection costs before its handshake; what it calls to use the result is not public.
    """

    __slots__ = ("_certificate", "_key")

    def __init__(self, certificate: bytes, key: TlsKey) -> None:
        self._certificate: Any = crypto.load_certificate(crypto.FILETYPE_ASN1, certificate)._x509  # noqa: SLF001
        self._key = key

    def present_on(self, tls: SSL.Connection) -> None:
        """Let a connection present it, before the handshake.

        Raises:
            ValueError: the key is not the certificate's.
        """
        handle: Any = tls._ssl  # noqa: SLF001
        if not (
            lib.SSL_use_certificate(handle, self._certificate) and lib.SSL_use_PrivateKey(handle, self._key.handle)
        ):
            lib.ERR_clear_error()
            raise ValueError("the private key is not the certificate's")
