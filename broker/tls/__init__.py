"""TLS as an asyncio transport that asks every client for a certificate and refuses none in the handshake.

Azure authorises at CONNECT. The stdlib's `ssl` cannot do that (it fails the handshake of an unknown self-signed
client certificate), so this is pyOpenSSL on memory BIOs. OpenSSL proves that the peer holds its leaf's key; it
builds no path (see `context.py`), because the path, the validity at the emulator's clock and the identity are the
gateway's to judge, once.

Both sides of a connection use it: servers through `TlsServer`, devices through `connect_tls`. Start at `transport.py`.
"""

from broker.tls.client import connect_tls
from broker.tls.context import client_context, refusing_context, server_context
from broker.tls.file_room import FileRoom
from broker.tls.identity import TlsIdentity, TlsKey
from broker.tls.server import TlsServer, bind
from broker.tls.tcp_link import TcpLink
from broker.tls.transport import MAX_CERTIFICATES, MAX_UNSENT_BYTES, TlsTransport, failure_of, presented_by
from broker.tls.trust import ServerNotTrusted, ServerTrust

__all__ = [
    "MAX_CERTIFICATES",
    "MAX_UNSENT_BYTES",
    "FileRoom",
    "ServerNotTrusted",
    "ServerTrust",
    "TcpLink",
    "TlsIdentity",
    "TlsKey",
    "TlsServer",
    "TlsTransport",
    "bind",
    "client_context",
    "connect_tls",
    "failure_of",
    "presented_by",
    "refusing_context",
    "server_context",
]
