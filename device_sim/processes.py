"""Work of the preparation, spread over the machine's cores when it is worth starting processes for."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, TypeVar

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
    executor = ProcessPoolExecutor(cores, _Context(), initializer=_leave_interrupts_to_the_parent)
    try:
        yield from executor.map(work, tasks)
    finally:
        _end(executor)


def _end(executor: ProcessPoolExecutor) -> None:
    """Wait for the pieces under way; a second Ctrl-C in that moment would leave processes that nobody waits for."""
    if threading.current_thread() is not threading.main_thread():
        executor.shutdown(cancel_futures=True)
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        executor.shutdown(cancel_futures=True)
    finally:
        signal.signal(signal.SIGINT, before)


class _Helper(SpawnProcess):
    """A process that ends with its parent, also when a second Ctrl-C keeps the parent from waiting for it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, daemon=True, **options)


class _Context(SpawnContext):
    """Spawned, not forked: the parent may have threads."""

    Process = _Helper


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
