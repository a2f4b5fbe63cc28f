"""TCP sockets that connect to a server."""

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, cycle, repeat

# Between two addresses there are 28,000 local ports, of which Linux tries one half first: from the 14,000th connection
# on, closed ones of the last minute included, it searches for 0.6 ms. To itself a machine has more addresses, which
# few devices do without.
_UNSPREAD = 4_000


def _loopback_sources() -> Iterator[str]:
    """Give the address that each connection to this machine comes from; empty for any."""
    return chain(repeat("", _UNSPREAD), cycle([f"127.0.0.{number}" for number in range(1, 9)]))


_SOURCES = _loopback_sources()


def begin_connecting(address: str, port: int) -> socket.socket:
    """Begin a connection to an IP address; what is sent waits until it is there, a failure ends the link.

    Raises:
        OSError: it failed at once.
    """
    sock = open_socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    if sys.platform == "linux" and address.startswith("127."):
        _spread(sock)
    error = sock.connect_ex((address, port))
    if error not in (0, errno.EINPROGRESS):
        sock.close()
        raise OSError(error, os.strerror(error))
    return sock


def _spread(sock: socket.socket) -> None:
    """Let a connection to this machine come from the next of its addresses; if that may not be taken, from any."""
    source = next(_SOURCES)
    if not source:
        return
    with suppress(OSError):
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((source, 0))


async def connect(host: str, port: int) -> socket.socket:
    """Connect to the first address of a host that answers.

    Raises:
        OSError: the name cannot be resolved, or no address answers; the last address's error.
    """
    loop = asyncio.get_running_loop()
    failure: OSError = OSError(errno.EADDRNOTAVAIL, f"{host} has no address")
    for family, _, _, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = open_socket(family)
        try:
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure


def open_socket(family: int) -> socket.socket:
    """Make a socket that neither blocks nor waits for more to send."""
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, socket.IPPROTO_TCP)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock
