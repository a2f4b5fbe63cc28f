"""Timers for any number of devices on one timer of the event loop: keep-alive, pacing, renewal, waits that end."""

import asyncio
import heapq
import math
from collections.abc import Callable
from typing import Any, Final

TICKS_PER_SECOND: Final = 1000
# More timers than this at one moment take turns with what arrives from the network.
TIMERS_PER_TURN: Final = 200


class Timer:
    """Something to call once; `cancel` lets go of it at once."""

    __slots__ = ("_arguments", "_callback")

    def __init__(self, callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._callback: Callable[..., object] | None = callback
        self._arguments = arguments

    @property
    def is_due(self) -> bool:
        """Tell whether it is still to be called."""
        return self._callback is not None

    def cancel(self) -> None:
        """Do not call it; no harm if it was called already."""
        self._callback, self._arguments = None, ()

    def fire(self) -> None:
        """Call it, unless that was done or cancelled."""
        callback, arguments = self._callback, self._arguments
        self.cancel()
        if callback is not None:
            callback(*arguments)


class Limit:
    """Cancels what is awaited in its `with` block when the time is over, and raises `TimeoutError` in its place.

    What `asyncio.timeout` does, at a fraction of the cost: a device's limits nearly always end unused.
    """

    __slots__ = ("_cancelling", "_is_over", "_seconds", "_task", "_timer", "_wheel")

    def __init__(self, wheel: "TimerWheel", seconds: float) -> None:
        self._wheel = wheel
        self._seconds = seconds
        self._is_over = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "only a task can be cancelled"
        self._task, self._cancelling = task, task.cancelling()
        self._timer = self._wheel.schedule(self._seconds, self._expire)

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._timer.cancel()
        # Somebody else's cancellation is passed on, even if the time is over as well.
        if self._is_over and self._task.uncancel() <= self._cancelling and isinstance(error, asyncio.CancelledError):
            raise TimeoutError from error

    def _expire(self) -> None:
        self._is_over = True
        self._task.cancel()


class TimerWheel:
    """Calls what is due, never early, at most a millisecond late when the loop has time.

    Timers of one millisecond share one entry; the loop sees a single timer, for the next entry. So scheduling and
    cancelling cost well below what `call_later` does, and a timer holds no more than what it calls. It belongs to the
    loop on which it is used first.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._entries: dict[int, list[Timer]] = {}
        self._ticks: list[int] = []
        self._handle: asyncio.Handle | None = None
        self._armed_for = math.inf

    def now(self) -> float:
        """Give the clock that `schedule_at` counts by, in seconds: the running loop's."""
        return self._running_loop().time()

    def schedule(self, seconds: float, callback: Callable[..., object], *arguments: Any) -> Timer:
        """Call back after so many seconds."""
        return self.schedule_at(self._running_loop().time() + seconds, callback, *arguments)

    def limit(self, seconds: float) -> Limit:
        """Give what bounds a `with` block of a task; it raises `TimeoutError` after so many seconds."""
        return Limit(self, seconds)

    def schedule_at(self, when: float, callback: Callable[..., object], *arguments: Any) -> Timer:
        """Call back at a moment of `now`'s clock; one that has passed counts as now."""
        timer = Timer(callback, arguments)
        # A little less, so that a moment that is a whole tick but for rounding does not become the next one.
        tick = math.ceil(when * TICKS_PER_SECOND - 1e-6)
        entry = self._entries.get(tick)
        if entry is not None:
            entry.append(timer)
            return timer
        self._entries[tick] = [timer]
        heapq.heappush(self._ticks, tick)
        if tick < self._armed_for:
            self._arm(tick)
        return timer

    def close(self) -> None:
        """Forget every timer."""
        if self._handle is not None:
            self._handle.cancel()
        self._entries.clear()
        self._ticks.clear()
        self._armed_for = math.inf

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    def _arm(self, tick: int) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._armed_for = tick
        self._handle = self._running_loop().call_at(tick / TICKS_PER_SECOND, self._turn)

    def _turn(self) -> None:
        loop = self._running_loop()
        self._handle = None
        # While timers are called, none of them needs to arm.
        self._armed_for = -math.inf
        left = TIMERS_PER_TURN
        now = math.floor(loop.time() * TICKS_PER_SECOND + 1e-6)
        try:
            while left and self._ticks and self._ticks[0] <= now:
                left = self._fire(self._ticks[0], left)
        finally:
            self._armed_for = math.inf
            if self._ticks:
                self._arm(self._ticks[0])

    def _fire(self, tick: int, left: int) -> int:
        """Call up to so many timers of an entry, and return how many more may be called."""
        timers = self._entries[tick]
        batch, rest = timers[:left], timers[left:]
        if rest:
            self._entries[tick] = rest
        else:
            heapq.heappop(self._ticks)
            del self._entries[tick]
        for number, timer in enumerate(batch):
            try:
                timer.fire()
            except BaseException:
                # A defect in one device's callback is the loop's to report; it must not silence the others.
                self._put_back(batch[number + 1 :])
                raise
        return left - len(batch)

    def _put_back(self, timers: list[Timer]) -> None:
        for timer in timers:
            self.schedule_at(self.now(), timer.fire)
