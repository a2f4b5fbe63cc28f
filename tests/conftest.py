"""For all tests: the signals that a process started by a person has, no deadline for single examples, and who shares
a process with whom where several run them.
"""

import signal

import pytest
from hypothesis import settings

# How long one example takes says something about the machine, which others use too, and nothing about the code.
settings.register_profile("hublet", deadline=None)
settings.load_profile("hublet")

# A shell that runs the tests in the background has them ignore SIGINT, and every process they start would too:
# then Ctrl-C cannot be tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests together, and in one process all that need Azure's ports; begin with the slow ones.

    Goes with `pytest -n 2 --dist loadgroup --no-loadscope-reorder`.
    """
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    on_azure_ports = {item.path for item in items if "azure_ports_emulator" in getattr(item, "fixturenames", ())}
    for item in items:
        item.add_marker(pytest.mark.xdist_group("azure-ports" if item.path in on_azure_ports else item.path.stem))
