"""A slow network: bytes that arrive late, at a limited rate, or both."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from device_sim.timer_wheel import TimerWheel


class Lane:
    """One direction: what enters leaves `delay_seconds` later, no faster than `bytes_per_second`, in order."""

    __slots__ = ("_bytes_per_second", "_delay_seconds", "_free_at", "_timers", "waiting_bytes")

    def __init__(self, timers: TimerWheel, delay_seconds: float, bytes_per_second: float | None) -> None:
        self._timers = timers
        self._delay_seconds = delay_seconds
        self._bytes_per_second = bytes_per_second
        self._free_at = 0.0
        self.waiting_bytes = 0

    def enter(self, data: bytes, leave: Callable[[bytes], object]) -> None:
        """Let bytes pass."""
        self.waiting_bytes += len(data)
        self._free_at = max(self._free_at, self._timers.now())
        if self._bytes_per_second is not None:
            self._free_at += len(data) / self._bytes_per_second
        self._timers.schedule_at(self._free_at + self._delay_seconds, self._leave, data, leave)

    def follow(self, action: Callable[[], object]) -> None:
        """Do something after all that entered has left."""
        self._timers.schedule_at(max(self._free_at, self._timers.now()) + self._delay_seconds, action)

    def _leave(self, data: bytes, leave: Callable[[bytes], object]) -> None:
        self.waiting_bytes -= len(data)
        leave(data)


class SlowLink(asyncio.BufferedProtocol, asyncio.Transport):
    """Sits between a TCP transport and the protocol above it, and lets bytes pass slowly in both directions."""

    # Copied from at once, so one buffer serves every link.
    _buffer = memoryview(bytearray(64 * 1024))

    __slots__ = ("_above", "_closing", "_down", "_tcp", "_up")

    def __init__(
        self,
        above: asyncio.BufferedProtocol,
        timers: TimerWheel,
        delay_seconds: float,
        bytes_per_second: float | None = None,
    ) -> None:
        super().__init__()
        self._above = above
        self._tcp: asyncio.Transport | None = None
        self._closing = False
        self._up = Lane(timers, delay_seconds, bytes_per_second)
        self._down = Lane(timers, delay_seconds, bytes_per_second)

    # --- what the TCP transport calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._tcp = transport
        self._above.connection_made(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's
        """Lend room for bytes that come."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Let bytes come up."""
        self._down.enter(bytes(self._buffer[:nbytes]), self._deliver)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the protocol above, after the last bytes."""
        self._tcp = None
        self._down.follow(lambda: self._above.connection_lost(exc))

    def _deliver(self, data: bytes) -> None:
        while data:
            buffer = memoryview(self._above.get_buffer(len(data)))
            size = min(len(buffer), len(data))
            buffer[:size] = data[:size]
            self._above.buffer_updated(size)
            data = data[size:]

    # --- what the protocol above calls ---

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Let bytes go down."""
        if not self._closing:
            self._up.enter(bytes(data), self._send)

    def _send(self, data: bytes) -> None:
        if self._tcp is not None:
            self._tcp.write(data)

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """Let bytes go down."""
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        """Close after the last bytes."""
        if not self._closing:
            self._closing = True
            self._up.follow(self._close)

    def _close(self) -> None:
        if self._tcp is not None:
            self._tcp.close()

    def abort(self) -> None:
        """End it at once."""
        self._closing = True
        if self._tcp is not None:
            self._tcp.abort()

    def is_closing(self) -> bool:
        """Tell whether it ends."""
        return self._closing

    def get_write_buffer_size(self) -> int:
        """Tell how many bytes are still to be sent."""
        return self._up.waiting_bytes + (self._tcp.get_write_buffer_size() if self._tcp is not None else 0)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Ask the TCP transport."""
        return self._tcp.get_extra_info(name, default) if self._tcp is not None else default
