"""The master of a fleet on Locust: gives each worker its part, and makes one summary of what they counted."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import gevent  # type: ignore[import-untyped]
from locust import LoadTestShape
from locust.env import Environment
from locust.runners import STATE_MISSING, MasterRunner
from locust.stats import get_error_report_summary, get_stats_summary

from device_sim.fleet_part import FleetPart, fingerprint
from device_sim.locust_fleet import (
    COUNTED,
    LEAVE,
    LOOK_SECONDS,
    OVER,
    PART,
    PREPARED,
    REFUSED,
    LocustFleetError,
    fleet_user,
    refuse_patched_sockets,
)
from device_sim.scenario import Scenario
from device_sim.summary import ErrorCount, Summary
from device_sim.summary_json import parse_summary
from device_sim.summary_merge import merge_summaries

LEAVE_SECONDS: Final = 60.0
WORKER_LOST: Final = "worker lost"


@dataclass
class Tally:
    """What the master knows of its workers, by Locust's ID for them."""

    prepared: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    counted: dict[str, Summary] = field(default_factory=dict)
    over: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)

    @property
    def settled(self) -> int:
        """How many workers will send nothing more."""
        return len(self.over | self.lost | set(self.refused))

    def merged(self) -> Summary | None:
        """Put together what the workers counted so far; those that are lost count as an error each."""
        if not self.counted:
            return None
        whole = merge_summaries([self.counted[name] for name in sorted(self.counted)])
        return _with_errors(whole, len(self.lost)) if self.lost else whole


class FleetShape(LoadTestShape):
    """One user on each worker, until all parts are over."""

    def __init__(self, workers: int, look: Callable[[], bool]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._workers = workers
        self._look = look

    def tick(self) -> tuple[int, float] | None:
        """Ask for the users, or for the end."""
        return None if self._look() else (self._workers, float(self._workers))


class Master:
    """The whole fleet on so many workers; `run` returns what it came to.

    Args:
        scenario: the whole fleet's, the same as the workers have.
        workers: how many to wait for; those that come later have nothing to do.
        tell: is told in words how it goes.
    """

    def __init__(self, scenario: Scenario, workers: int, tell: Callable[[str], None]) -> None:
        self._scenario = scenario
        self._workers = workers
        self._tell = tell
        self._tally = Tally()
        self._members: tuple[str, ...] = ()
        self._is_leaving = False
        self._stopped_by = ""
        self._leave_until = 0.0
        shape = FleetShape(workers, self._is_over)
        self._environment = Environment(user_classes=[fleet_user(lambda: None)], shape_class=shape)
        self._runner: MasterRunner | None = None

    def run(self, bind_host: str, bind_port: int) -> Summary:
        """Wait for the workers, let them run their parts, and give the summary of the whole.

        Raises:
            LocustFleetError: a worker could not prepare its part, or none of them was heard of.
        """
        refuse_patched_sockets()
        runner = self._runner = self._environment.create_master_runner(bind_host, bind_port)
        try:
            self._hear(runner)
            self._wait_for_workers(runner)
            runner.start_shape()
            assert runner.shape_greenlet is not None
            runner.shape_greenlet.join()
        finally:
            runner.quit()
        if self._tally.refused:
            raise LocustFleetError("; ".join(sorted(set(self._tally.refused.values()))))
        summary = self._tally.merged()
        if summary is None:
            raise LocustFleetError("no worker has sent what it counted")
        return replace(summary, stopped_by=self._stopped_by)

    def leave(self) -> None:
        """Let all devices leave in order; the run ends when the workers have sent what they counted."""
        if not self._is_leaving and self._runner is not None:
            self._is_leaving, self._leave_until = True, time.monotonic() + LEAVE_SECONDS
            self._runner.send_message(LEAVE, {})

    def rows(self) -> str:
        """Give Locust's own tables: the request rows, and the failures by reason."""
        stats = self._environment.stats
        failures = get_error_report_summary(stats) if stats.errors else []
        return "\n".join([*get_stats_summary(stats, current=False), *failures])

    def _hear(self, runner: MasterRunner) -> None:
        tally = self._tally

        def counted(msg: Any, **_: Any) -> None:
            tally.counted[msg.node_id] = parse_summary(msg.data["summary"])

        def over(msg: Any, **_: Any) -> None:
            counted(msg)
            tally.over.add(msg.node_id)

        runner.register_message(PREPARED, lambda msg, **_: tally.prepared.add(msg.node_id))
        runner.register_message(REFUSED, lambda msg, **_: tally.refused.update({msg.node_id: msg.data["reason"]}))
        runner.register_message(COUNTED, counted)
        runner.register_message(OVER, over)

    def _wait_for_workers(self, runner: MasterRunner) -> None:
        self._tell(f"waiting for {self._workers} workers on port {runner.master_bind_port}")
        while len(runner.clients.ready) < self._workers and not self._is_leaving:
            gevent.sleep(LOOK_SECONDS)
        self._members = tuple(client.id for client in runner.clients.ready)[: self._workers]
        print_ = fingerprint(self._scenario)
        for index, name in enumerate(self._members):
            part = FleetPart(index, self._workers)
            first, count = part.first_device(self._scenario.devices), part.devices(self._scenario.devices)
            self._tell(f"worker {index}: devices {first:,} to {first + count - 1:,} ({count:,})")
            runner.send_message(PART, {"index": index, "workers": self._workers, "fingerprint": print_}, name)
        while len(self._tally.prepared) + self._tally.settled < len(self._members) and not self._is_leaving:
            self._look_for_lost()
            gevent.sleep(LOOK_SECONDS)

    def _is_over(self) -> bool:
        """Look after the workers; called every second."""
        self._look_for_lost()
        if self._tally.refused and not self._is_leaving:
            self.leave()
        if self._scenario.stop_when and not self._is_leaving:
            whole = self._tally.merged()
            held = [str(each) for each in self._scenario.stop_when if whole is not None and each.holds(whole.snapshot)]
            if held:
                self._stopped_by = held[0]
                self.leave()
        is_late = self._is_leaving and time.monotonic() > self._leave_until
        return is_late or not self._members or self._tally.settled >= len(self._members)

    def _look_for_lost(self) -> None:
        assert self._runner is not None, "called while it runs"
        clients = self._runner.clients
        for name in self._members:
            is_gone = name not in clients or clients[name].state == STATE_MISSING
            if is_gone and name not in self._tally.over and name not in self._tally.lost:
                self._tally.lost.add(name)
                self._tell(f"worker {self._members.index(name)} is lost, its devices with it")


def _with_errors(summary: Summary, lost: int) -> Summary:
    snapshot = replace(summary.snapshot, errors=(*summary.snapshot.errors, ErrorCount(WORKER_LOST, "", lost)))
    return replace(summary, snapshot=snapshot)
