"""Keeps some of the files that a process may open from clients, so that it can go on reading its keys."""

import asyncio
import logging
import resource
from collections.abc import Callable
from typing import Final

logger = logging.getLogger("broker")

SPARE_FILES: Final = 32
WARN_SECONDS: Final = 10


class FileRoom:
    """Tells which client there is room for, and says in the log, not too often, when there is none.

    Args:
        most_files: gives how many files the process may have open at present, None for any number; without it the
            system is asked.
        now: seconds of any clock, without it the running loop's.
    """

    def __init__(
        self, most_files: Callable[[], int | None] | None = None, now: Callable[[], float] | None = None
    ) -> None:
        self._most_files = most_files or _soft_limit
        self._now = now or (lambda: asyncio.get_running_loop().time())
        self._refused = 0
        self._warned_at: float | None = None

    def admits(self, number: int) -> bool:
        """Tell whether a client may stay whose socket has this number: the system gives the lowest that is free."""
        most = self._most_files()
        if most is None or number < most - SPARE_FILES:
            return True
        self._refused += 1
        self._warn(most)
        return False

    def _warn(self, most: int) -> None:
        now = self._now()
        if self._warned_at is not None and now - self._warned_at < WARN_SECONDS:
            return
        self._warned_at = now
        logger.warning(
            "no room for more connections, %d refused so far: this process may open %d files (ulimit -Hn), of which "
            "it keeps %d; raise the limit for more devices at a time",
            self._refused, most, SPARE_FILES,
        )  # fmt: skip


def _soft_limit() -> int | None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft
