"""Work of the preparation, spread over the machine's cores when it is worth starting processes for."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

# A process of ours is up after about half a second.
WORTH_SECONDS = 2.0
CHUNK_SECONDS = 0.25

Task = TypeVar("Task")
Result = TypeVar("Result")


def chunks(count: int, seconds_each: float) -> list[range]:
    """Divide so many things, of so many seconds each, into pieces after which one can show progress, or stop."""
    size = max(int(CHUNK_SECONDS / seconds_each), 1)
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def work_through(work: Callable[[Task], Result], tasks: Sequence[Task], seconds: float) -> Iterator[Result]:
    """Give the result of each task in order; `seconds` is what one core would need for all.

    `work` has to be a function of a module, and tasks and results go from process to process.
    """
    cores = os.cpu_count() or 1
    if seconds < WORTH_SECONDS or cores == 1:
        yield from map(work, tasks)
        return
    # Spawned, not forked: the parent may have threads.
    executor = ProcessPoolExecutor(cores, get_context("spawn"), initializer=_leave_interrupts_to_the_parent)
    try:
        yield from executor.map(work, tasks)
    finally:
        executor.shutdown(cancel_futures=True)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
