"""The simulator's process: a fleet that grows, and some devices that come, send and leave.

    .venv/bin/python -m bench.growing_fleet     # started by `growth.py` and `rows.py`; JSON lines in, JSON lines out

All of it is `device_sim`'s engine as `hublet fleet run` has it, garbage collector included.
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bench.client import HOST, Refused
from bench.fleet import read_fleet
from certs.keys import KeyType, generate_key
from device_sim.credential import ClientCertificate
from device_sim.engine import Engine
from device_sim.key_pool import DeviceKey
from device_sim.recorder import Recorder
from device_sim.scenario import ConnectionSection, Scenario
from device_sim.scenario_behaviour import Behaviour, Telemetry, ThinkTimes
from device_sim.settings import DeviceSettings
from device_sim.summary import Snapshot

Request = dict[str, Any]
Run = tuple[Engine, Recorder, asyncio.Task[None]]

# Longer than any run, so that no ping falls into a measurement.
KEEP_ALIVE_SECONDS = 1_170
# A look copies every histogram: a few in a second, so that what is measured is the engine.
LOOK_SECONDS = 0.25
PAYLOAD_BYTES = 128
# Those that come to stay: as fast as the machine can, and no faster.
CONCURRENCY = 100
A_DAY = 86_400.0
# Senders are all there, and the server at rest, before the first message.
BEFORE_MESSAGES_SECONDS = 8.0


class GrowingFleet:
    """Engines in one loop: those whose devices stay, and the one whose devices send."""

    def __init__(self) -> None:
        self._credentials: list[ClientCertificate] = []
        self._keys: list[DeviceKey] = []
        self._staying: list[Run] = []
        self._sending: Run | None = None
        self._settings = DeviceSettings("")
        self._loads: dict[str, Callable[[Request], Awaitable[int]]] = {
            "read": self._read,
            "grow": self._grow,
            "come": self._come,
            "send": self._send,
            "go": self._go,
            "check": self._check,
            "leave": self._leave,
        }

    async def do(self, request: Request) -> dict[str, float]:
        """Carry out one request, and tell how much was done, how long it took, and this process's own CPU time."""
        # An engine walks over the heap once when it begins; here the heap is that of all the engines before it.
        gc.collect()
        gc.freeze()
        started, cpu_started = time.perf_counter(), time.process_time()
        count = await self._loads[request["do"]](request)
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
        return {"count": count, "seconds": seconds, "cpu_seconds": cpu_seconds}

    async def _read(self, request: Request) -> int:
        # As with `hublet fleet run`: credentials, keys and CSRs are made before the fleet's clock starts.
        self._credentials = [
            ClientCertificate((each.leaf, each.issuing_ca), each.key).prepare()
            for each in read_fleet(Path(request["fleet"]))
        ]
        self._keys = [
            DeviceKey.prepared(generate_key(KeyType.P256)).for_device(each.registration_id)
            for each in self._credentials
        ]
        self._settings = DeviceSettings(
            request["id_scope"],
            dps_host=HOST,
            dps_port=request["port"],
            hub_port=request["port"],
            ca_file=Path(request["ca_file"]),
        )
        return len(self._credentials)

    async def _grow(self, request: Request) -> int:
        """Let devices come, so many at a time, and stay."""
        scenario = Scenario(
            devices=request["devices"],
            concurrency=CONCURRENCY,
            connection=_connection(),
            duration_seconds=A_DAY,
        )
        run = self._start(request, scenario)
        self._staying.append(run)
        return await _until(run, "onboarding", request["devices"])

    async def _come(self, request: Request) -> int:
        """Let devices come at once, and wait with their messages until all are there."""
        run = self._start(request, Scenario(devices=request["devices"], behaviour=_sending(request["messages"])))
        self._sending = run
        count = await _until(run, "onboarding", request["devices"])
        if _times(run[1].snapshot(), "telemetry"):
            raise Refused(f"{count} devices took more than {BEFORE_MESSAGES_SECONDS:g} s: the first one sends already")
        return count

    async def _send(self, request: Request) -> int:
        """Wait until those that came have sent all they have, each message after the acknowledgement before it."""
        assert self._sending is not None
        total: int = request["devices"] * request["messages"]
        return await _until(self._sending, "telemetry", total)

    async def _go(self, _request: Request) -> int:
        assert self._sending is not None
        engine, _, task = self._sending
        engine.stop()
        await task
        self._sending = None
        return 1

    async def _check(self, _request: Request) -> int:
        """Make sure that everybody who came to stay is there, and has been all the time."""
        return sum(_healthy(recorder, task).states["connected"] for _, recorder, task in self._staying)

    async def _leave(self, _request: Request) -> int:
        for engine, _, task in self._staying:
            engine.stop()
            await task
        return len(self._staying)

    def _start(self, request: Request, scenario: Scenario) -> Run:
        recorder = Recorder()
        first: int = request["first"]
        engine = Engine(
            scenario,
            self._settings,
            self._credentials.__getitem__,
            recorder,
            keys=lambda device, _generation: self._keys[device],
            first_device=first,
        )
        return engine, recorder, asyncio.get_running_loop().create_task(engine.run())


def _connection() -> ConnectionSection:
    return ConnectionSection(keep_alive_seconds=KEEP_ALIVE_SECONDS)


def _sending(messages: int) -> Behaviour:
    pause = (BEFORE_MESSAGES_SECONDS, BEFORE_MESSAGES_SECONDS)
    return Behaviour(
        telemetry=Telemetry(messages=messages, size_bytes=PAYLOAD_BYTES),
        think_times=ThinkTimes(before_telemetry_seconds=pause),
    )


async def _until(run: Run, what: str, count: int) -> int:
    _, recorder, task = run
    while True:
        if _times(_healthy(recorder, task), what) >= count:
            return count
        await asyncio.sleep(LOOK_SECONDS)


def _times(snapshot: Snapshot, what: str) -> int:
    measured = snapshot.measured(what)
    return measured.times if measured is not None else 0


def _healthy(recorder: Recorder, task: asyncio.Task[None]) -> Snapshot:
    """Give what was counted so far.

    Raises:
        Refused: a device failed.
    """
    snapshot = recorder.snapshot()
    if snapshot.errors:
        raise Refused(f"devices failed: {snapshot.errors}")
    if task.done():
        task.result()
    return snapshot


async def serve() -> None:
    """Do what standard input says, until it ends."""
    fleet = GrowingFleet()
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await fleet.do(json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(serve())
