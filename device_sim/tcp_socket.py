"""TCP sockets that connect to a server."""

import asyncio
import errno
import os
import socket


def begin_connecting(address: str, port: int) -> socket.socket:
    """Begin a connection to an IP address; what is sent waits until it is there, a failure ends the link.

    Raises:
        OSError: it failed at once.
    """
    sock = open_socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    error = sock.connect_ex((address, port))
    if error not in (0, errno.EINPROGRESS):
        sock.close()
        raise OSError(error, os.strerror(error))
    return sock


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
