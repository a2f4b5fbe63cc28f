import asyncio
from typing import Any

import pytest

from device_sim.slow_network import Lane, SlowLink
from device_sim.timer_wheel import TimerWheel


def passed(run: Any, lane_of: Any, pieces: list[bytes]) -> list[tuple[bytes, float]]:
    async def scenario() -> list[tuple[bytes, float]]:
        timers = TimerWheel()
        lane, out = lane_of(timers), []
        for piece in pieces:
            lane.enter(piece, lambda data: out.append((data, timers.now())))
        lane.follow(lambda: out.append((b"end", timers.now())))
        assert lane.waiting_bytes == sum(map(len, pieces))
        await asyncio.sleep(100)
        assert lane.waiting_bytes == 0
        return out

    result: list[tuple[bytes, float]] = run(scenario())[0]
    return result


def test_delay_holds_every_piece_as_long(run: Any) -> None:
    out = passed(run, lambda timers: Lane(timers, 0.2, None), [b"a", b"b"])
    assert [data for data, _ in out] == [b"a", b"b", b"end"]
    assert [moment for _, moment in out] == pytest.approx([0.2, 0.2, 0.2], abs=0.002)


def test_rate_lets_pieces_pass_one_after_the_other(run: Any) -> None:
    out = passed(run, lambda timers: Lane(timers, 0.5, 100), [b"x" * 100, b"y" * 200])
    assert [moment for _, moment in out] == pytest.approx([1.5, 3.5, 3.5], abs=0.002)


class Above(asyncio.BufferedProtocol):
    def __init__(self) -> None:
        self.transport: Any = None
        self.heard = b""
        self.events: list[tuple[str, float]] = []
        self._buffer = bytearray(4)

    def note(self, what: str) -> None:
        self.events.append((what, asyncio.get_running_loop().time()))

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.note("made")

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._buffer)

    def buffer_updated(self, nbytes: int) -> None:
        self.heard += self._buffer[:nbytes]
        self.note("heard")

    def connection_lost(self, exc: Exception | None) -> None:
        self.note(f"lost {exc}")


class Tcp(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 8883)})
        self.written: list[tuple[bytes, float]] = []
        self.closed = self.aborted = False

    def write(self, data: Any) -> None:
        self.written.append((bytes(data), asyncio.get_running_loop().time()))

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def get_write_buffer_size(self) -> int:
        return 5


def linked() -> tuple[SlowLink, Above, Tcp]:
    above, tcp = Above(), Tcp()
    link = SlowLink(above, TimerWheel(), 0.25)
    link.connection_made(tcp)
    return link, above, tcp


def test_bytes_and_the_end_arrive_late_in_both_directions(run: Any) -> None:
    async def scenario() -> tuple[Above, Tcp]:
        link, above, tcp = linked()
        assert above.transport is link
        assert link.get_extra_info("peername") == ("192.0.2.1", 8883)
        link.get_buffer(-1)[:10] = b"0123456789"
        link.buffer_updated(10)
        link.write(b"request")
        link.writelines([b"a", b"b"])
        assert link.get_write_buffer_size() == 5 + 9
        link.close()
        link.close()
        link.write(b"too late")
        assert link.is_closing()
        assert not tcp.closed
        await asyncio.sleep(1)
        assert tcp.closed
        link.connection_lost(None)
        await asyncio.sleep(1)
        assert link.get_extra_info("peername", "gone") == "gone"
        assert link.get_write_buffer_size() == 0
        return above, tcp

    above, tcp = run(scenario())[0]
    assert above.heard == b"0123456789"
    assert [data for data, _ in tcp.written] == [b"request", b"ab"]
    assert [moment for _, moment in tcp.written] == pytest.approx([0.25, 0.25], abs=0.002)
    assert [what for what, _ in above.events] == ["made", "heard", "heard", "heard", "lost None"]
    assert above.events[-1][1] == pytest.approx(1.25, abs=0.002)


def test_abort_is_not_slow(run: Any) -> None:
    async def scenario() -> None:
        link, _, tcp = linked()
        link.write(b"x")
        link.abort()
        assert tcp.aborted
        link.connection_lost(None)
        link.abort()
        await asyncio.sleep(1)
        assert tcp.written == []

    run(scenario())
