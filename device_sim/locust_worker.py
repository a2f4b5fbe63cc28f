"""A worker of a fleet on Locust: runs its part of the devices, and hands every event to Locust as a request row."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Final

import gevent  # type: ignore[import-untyped]
from locust.env import Environment
from locust.runners import WorkerRunner

from device_sim.engine import Engine
from device_sim.fleet_part import FleetPart, fingerprint
from device_sim.locust_fleet import (
    COUNTED,
    LEAVE,
    OVER,
    PART,
    PREPARED,
    REFUSED,
    LocustFleetError,
    fleet_user,
    refuse_patched_sockets,
)
from device_sim.request_rows import RowRecorder
from device_sim.scenario import Scenario
from device_sim.shared_clock import SharedClock
from device_sim.summary_json import format_summary

ROWS_SECONDS: Final = 0.2
COUNTED_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class PreparedPart:
    """The engine of a part, and the emulator's clock that it follows, if there is one."""

    engine: Engine
    clock: SharedClock | None = None


PreparePart = Callable[[FleetPart, RowRecorder], PreparedPart]


class FailedRow(Exception):
    """What Locust counts as a request's failure: the reason, the same for every device that meets it."""


class Worker:
    """One worker's part of a fleet: prepared when the master says which, run when Locust spawns its user.

    Args:
        scenario: the whole fleet's.
        prepare: makes what a part needs; called in a thread of its own, as the engine is run.
    """

    def __init__(self, scenario: Scenario, prepare: PreparePart) -> None:
        self._scenario = scenario
        self._prepare = prepare
        self._recorder = RowRecorder()
        self._part: PreparedPart | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._has_run = False
        self._environment = Environment(user_classes=[fleet_user(self.run_part)])
        self._runner: WorkerRunner | None = None
        self.failure = ""

    def serve(self, master_host: str, master_port: int) -> None:
        """Join a master, and return when it says that all is over, or is gone.

        Raises:
            ConnectionError: there is no master.
            LocustFleetError: this part could not be prepared or run.
        """
        refuse_patched_sockets()
        runner = self._runner = self._environment.create_worker_runner(master_host, master_port)
        runner.register_message(PART, self._on_part, concurrent=True)
        runner.register_message(LEAVE, self._on_leave)
        runner.greenlet.join()
        self.leave()
        if self.failure:
            raise LocustFleetError(self.failure)

    def leave(self) -> None:
        """Let the devices leave in order; `serve` returns when the master has heard of it."""
        if self._part is not None and self._loop is not None and self._loop.is_running():
            self._loop.call_soon_threadsafe(self._part.engine.stop)

    def run_part(self) -> None:
        """Run the part in a thread, and hand its rows to Locust meanwhile; a second user has nothing to do."""
        if self._part is None or self._has_run:
            return
        self._has_run = True
        running = gevent.get_hub().threadpool.spawn(self._run_engine, self._part)
        counted = time.monotonic()
        while not running.ready():
            gevent.sleep(ROWS_SECONDS)
            self._fire_rows()
            if time.monotonic() - counted > COUNTED_SECONDS:
                self._send(COUNTED, {"summary": self._summary_text(with_timeline=False)})
                counted = time.monotonic()
        self._fire_rows()
        if running.exception is not None:
            self._fail(f"the engine failed: {running.exception!r}")
        else:
            self._send(OVER, {"summary": self._summary_text(with_timeline=True)})

    def _run_engine(self, part: PreparedPart) -> None:
        async def run() -> None:
            self._loop = asyncio.get_running_loop()
            clock, engine = part.clock, part.engine
            async with clock.following(moved=engine.follow_clock) if clock is not None else nullcontext():
                await engine.run()

        asyncio.run(run())

    def _on_part(self, msg: Any, **_: Any) -> None:
        part = FleetPart(msg.data["index"], msg.data["workers"])
        if msg.data["fingerprint"] != fingerprint(self._scenario):
            self._fail("this worker's scenario is not the master's: give both the same file and settings")
            return
        pool = gevent.get_hub().threadpool
        try:
            self._part = pool.apply(self._prepare, (part, self._recorder))
        except Exception as error:  # noqa: BLE001 - the master has to hear of it, whatever it is
            self._fail(str(error) or repr(error))
            return
        self._send(PREPARED, {})

    def _on_leave(self, **_: Any) -> None:
        self.leave()

    def _fail(self, reason: str) -> None:
        self.failure = reason
        self._send(REFUSED, {"reason": reason})

    def _send(self, kind: str, data: Mapping[str, Any]) -> None:
        assert self._runner is not None, "nothing is sent before there is a master"
        self._runner.send_message(kind, dict(data))

    def _fire_rows(self) -> None:
        for row in self._recorder.take():
            self._environment.events.request.fire(  # type: ignore[no-untyped-call]
                request_type=row.kind,
                name=row.name,
                response_time=row.milliseconds,
                response_length=0,
                exception=FailedRow(row.failure) if row.failure else None,
                context={},
            )

    def _summary_text(self, *, with_timeline: bool) -> str:
        summary = self._recorder.summary()
        return format_summary(summary if with_timeline else replace(summary, timeline=()))
