"""A TCP connection on the event loop's readers and writers alone.

asyncio's own transport and what it takes to make one (a task, a future, four calls of the loop, three system calls) are
a fifth of a device's calls and a twentieth of a server's work for a connection; this one offers what the protocols
above use.
"""

import asyncio
import logging
import socket
from typing import Any

logger = logging.getLogger("broker")

# Above the first, a protocol is told to pause; below the second, to go on.
HIGH_WATER_BYTES = 64 * 1024
LOW_WATER_BYTES = 16 * 1024


class TcpLink(asyncio.Transport):
    """The transport of a socket that is connected, or about to be; `start` hands it to its protocol.

    `peer` is the other end's address where it is known already; the `peername` is asked for where it is not.
    """

    __slots__ = (
        "_closing",
        "_fd",
        "_is_over",
        "_is_paused",
        "_is_reading",
        "_loop",
        "_peer",
        "_protocol",
        "_sock",
        "_unsent",
    )

    def __init__(self, sock: socket.socket, protocol: asyncio.BufferedProtocol, peer: Any = None) -> None:
        super().__init__()
        self._sock = sock
        self._peer = peer
        # The loop's selector is asked by number: an unknown socket it would describe in an exception, address and all.
        self._fd = sock.fileno()
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._unsent: bytearray | None = None
        self._closing = self._is_over = self._is_paused = self._is_reading = False

    def start(self) -> None:
        """Begin to read."""
        self._protocol.connection_made(self)
        self.resume_reading()

    def _read(self) -> None:
        try:
            size = self._sock.recv_into(self._protocol.get_buffer(-1))
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(error)
            return
        if not size:
            self._end(None)
            return
        try:
            self._protocol.buffer_updated(size)
        except Exception as error:  # a protocol in an unknown state hears no more
            logger.exception("connection dropped: internal error")
            self._end(error)

    def pause_reading(self) -> None:
        """Take nothing from the socket until `resume_reading`."""
        if self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self._fd)

    def resume_reading(self) -> None:
        """Read again."""
        if not self._is_reading and not self._closing:
            self._is_reading = True
            self._loop.add_reader(self._fd, self._read)

    def is_reading(self) -> bool:
        """Tell whether it takes what arrives."""
        return self._is_reading

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send, or keep what cannot be sent yet."""
        if self._closing:
            return
        if self._unsent is not None:
            self._unsent += data
            self._pause_if_full()
            return
        sent = self._send(data)
        if sent is not None and sent < len(data):
            self._unsent = bytearray(memoryview(data)[sent:])
            self._loop.add_writer(self._fd, self._write_rest)
            self._pause_if_full()

    def _send(self, data: bytes | bytearray | memoryview) -> int | None:
        """Return how much was sent; None when the connection is gone."""
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._end(error)
            return None

    def _write_rest(self) -> None:
        unsent = self._unsent
        assert unsent is not None, "a writer is there for what is unsent"
        sent = self._send(unsent)
        if sent is None:
            return
        del unsent[:sent]
        if self._is_paused and len(unsent) < LOW_WATER_BYTES:
            self._is_paused = False
            self._protocol.resume_writing()
        if not unsent and self._unsent is unsent:
            self._unsent = None
            self._loop.remove_writer(self._fd)
            if self._closing:
                self._end(None)

    def _pause_if_full(self) -> None:
        if not self._is_paused and self.get_write_buffer_size() > HIGH_WATER_BYTES:
            self._is_paused = True
            self._protocol.pause_writing()

    def close(self) -> None:
        """Close when all is sent."""
        if self._closing:
            return
        self._closing = True
        if self._unsent is None:
            self._end(None)
        else:
            self.pause_reading()

    def abort(self) -> None:
        """Close at once."""
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        """Tell the protocol once, in a turn of its own, that the connection is over."""
        self._closing = True
        if self._is_over:
            return
        self._is_over = True
        self.pause_reading()
        if self._unsent is not None:
            self._unsent = None
            self._loop.remove_writer(self._fd)
        self._loop.call_soon(self._say_lost, error)

    def _say_lost(self, error: Exception | None) -> None:
        self._sock.close()
        self._protocol.connection_lost(error)

    def is_closing(self) -> bool:
        """Tell whether it ends."""
        return self._closing

    def get_write_buffer_size(self) -> int:
        """Tell how many bytes are still to be sent."""
        return len(self._unsent) if self._unsent is not None else 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Give the `peername` or the `socket`."""
        if name == "socket":
            return self._sock
        if name != "peername":
            return default
        if self._peer is not None:
            return self._peer
        try:
            return self._sock.getpeername()
        except OSError:
            return default
