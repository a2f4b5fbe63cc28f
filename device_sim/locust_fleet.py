"""What Locust's master and workers of one fleet share: their messages, the user, and that no socket is monkey-patched.

Importing this imports Locust without its monkey-patching: the engine has a real event loop in a real thread, beside
gevent's. So nothing that relies on patched sockets may run in the same process (`HttpUser`).
"""

import os
from collections.abc import Callable
from typing import Final

os.environ.setdefault("LOCUST_SKIP_MONKEY_PATCH", "1")

import gevent  # type: ignore[import-untyped]
from gevent.monkey import is_module_patched  # type: ignore[import-untyped]
from locust import User, task

# Messages from the master: which part is whose, and that the devices are to leave.
PART, LEAVE = "hublet.part", "hublet.leave"
# From workers: the part can begin, it cannot, what was counted so far, and what was counted to the end.
PREPARED, REFUSED, COUNTED, OVER = "hublet.prepared", "hublet.refused", "hublet.counted", "hublet.over"
LOOK_SECONDS: Final = 0.1


class LocustFleetError(Exception):
    """A fleet cannot run on Locust; the message says why."""


def fleet_user(run_part: Callable[[], None]) -> type[User]:
    """Make the one user class of a fleet; Locust spawns one such user on each worker."""

    class FleetUser(User):
        """A worker's whole part of the fleet."""

        @task
        def run_part(self) -> None:
            """Run the part, then wait until Locust stops us: its user count has to stay what it asked for."""
            run_part()
            while True:
                gevent.sleep(LOOK_SECONDS)

    return FleetUser


def refuse_patched_sockets() -> None:
    """Make sure that the engine's sockets will be the system's.

    Raises:
        LocustFleetError: somebody imported Locust before this module.
    """
    if is_module_patched("socket"):
        raise LocustFleetError("gevent has patched the sockets: import device_sim.locust_fleet before locust")
