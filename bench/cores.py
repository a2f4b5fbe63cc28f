"""Which core the server runs on, and which one the load comes from."""

import contextlib
import os
from collections.abc import Iterator

_AVAILABLE = sorted(os.sched_getaffinity(0))
SERVER_CORE = _AVAILABLE[0]
GENERATOR_CORE = _AVAILABLE[-1]


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Run this process on one core; processes started meanwhile stay there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
