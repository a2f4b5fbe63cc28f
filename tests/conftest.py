"""For all tests: the signals that a process started by a person has, no deadline for single examples, and which begin
first.
"""

import os
import signal

import pytest
from hypothesis import settings

# How long one example takes says something about the machine, which others use too, and nothing about the code. The
# suite tries the same examples each time, so that it says the same of the same code; `make explore` looks for new ones.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

# A shell that runs the tests in the background has them ignore SIGINT, and every process they start would too:
# then Ctrl-C cannot be tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have slow tests: goes with `pytest -n 2 --dist loadfile --no-loadscope-reorder`."""
    slow = {item.path for item in items if item.get_closest_marker("slow") is not None}
    items.sort(key=lambda item: item.path not in slow)
