"""A clock that devices share with an emulator: the machine's time, moved as the emulator's control API says."""

import asyncio
import json
import logging
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Self

from device_sim.dialer import system_now
from device_sim.errors import DeviceError

logger = logging.getLogger("device_sim")

POLL_SECONDS = 0.5
TIMEOUT_SECONDS = 5.0
# Two clocks of one machine differ by less when they are read one after the other.
LEAST_MOVE = timedelta(seconds=1)


class ClockUnreachable(DeviceError):
    """The emulator's clock cannot be read."""


class SharedClock:
    """What `now` is for devices of an emulator whose time is moved.

    `now` costs nothing: it goes by what was last read. `following` reads again twice a second.

    Args:
        url: where the clock is read, such as `http://127.0.0.1:8080/clock`.
        machine_now: the machine's time.
        read: reads a URL and returns the body.
    """

    def __init__(
        self,
        url: str,
        *,
        machine_now: Callable[[], datetime] = system_now,
        read: Callable[[str], bytes] | None = None,
    ) -> None:
        self._url = url
        self._machine_now = machine_now
        self._read = read or _read
        self._offset = timedelta()
        self._frozen_at: datetime | None = None
        self._is_lost = False

    @classmethod
    def open(cls, url: str) -> Self:
        """Read the clock for the first time.

        Raises:
            ClockUnreachable: it cannot be read.
        """
        clock = cls(url)
        clock.refresh()
        return clock

    def now(self) -> datetime:
        """Return the present moment, as the emulator has it."""
        return self._frozen_at or self._machine_now() + self._offset

    def refresh(self) -> bool:
        """Read the clock, and tell whether it was moved, stopped or set going; this blocks until the answer is there.

        Raises:
            ClockUnreachable: it cannot be read; it goes on as before.
        """
        try:
            state = json.loads(self._read(self._url))
            now, machine = datetime.fromisoformat(state["now"]), datetime.fromisoformat(state["machine"])
            is_frozen = state["frozen"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ClockUnreachable(f"the clock at {self._url} cannot be read: {error}") from error
        offset, frozen_at = now - machine, now if is_frozen else None
        before, self._offset, self._frozen_at = (self._offset, self._frozen_at), offset, frozen_at
        if frozen_at is not None or before[1] is not None:
            return frozen_at != before[1]
        return abs(offset - before[0]) > LEAST_MOVE

    @asynccontextmanager
    async def following(
        self, poll_seconds: float = POLL_SECONDS, *, moved: Callable[[], None] = lambda: None
    ) -> AsyncIterator[Self]:
        """Follow the clock while the block runs; it goes on as before while it cannot be read.

        Args:
            poll_seconds: how long to wait between two looks, in real seconds.
            moved: called in the loop after the clock was moved, stopped or set going.
        """
        task = asyncio.create_task(self._follow(poll_seconds, moved))
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _follow(self, poll_seconds: float, moved: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(poll_seconds)
            try:
                is_moved = await asyncio.to_thread(self.refresh)
            except ClockUnreachable as error:
                if not self._is_lost:
                    logger.warning("%s", error)
                self._is_lost = True
            else:
                self._is_lost = False
                if is_moved:
                    moved()


def _read(url: str) -> bytes:
    if not url.startswith(("http://", "https://")):
        raise ValueError("a clock's URL begins with http:// or https://")
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - checked above
        body: bytes = answer.read()
    return body
