"""The load generator: a process that does what it reads as JSON lines, and says in one line that it is done.

    .venv/bin/python -m bench.generator     # started by `Generator` in generator_process.py

A load is prepared (connections, encryption, signing requests) before the caller looks at the server's CPU time, run,
and checked after. A load that fails ends the process: there is no figure for half of it.
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bench.client import Client, Dialer, Refused
from bench.connects import come_and_go, open_all, run_bounded
from bench.fleet import Device, read_fleet, write_fleet
from bench.messages import Lane, count_answers, exchange, open_lane
from bench.onboarding import Onboarder, onboard
from certs.pem import parse_pem_certificates

Request = dict[str, Any]


class Generator:
    """The loads by name, and what is kept between them."""

    def __init__(self) -> None:
        self._fleets: dict[str, list[Device]] = {}
        self._idle: list[Client] = []
        self._lanes: list[Lane] = []
        self._onboarders: list[Onboarder] = []
        self._onboarded: list[Device] = []
        self._loads: dict[str, Callable[[Request], Awaitable[int]]] = {
            "come_and_go": self._come_and_go,
            "open_idle": self._open_idle,
            "close_idle": self._close_idle,
            "prepare_messages": self._prepare_messages,
            "send_messages": self._send_messages,
            "check_messages": self._check_messages,
            "prepare_onboarding": self._prepare_onboarding,
            "onboard": self._onboard,
            "save_onboarded": self._save_onboarded,
        }

    async def do(self, request: Request) -> dict[str, float]:
        """Carry out one request, and tell how much was done, how long it took, and this process's own CPU time."""
        started, cpu_started = time.perf_counter(), time.process_time()
        count = await self._loads[request["do"]](request)
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
        return {"count": count, "seconds": seconds, "cpu_seconds": cpu_seconds}

    async def _come_and_go(self, request: Request) -> int:
        fleet = self._fleet(request)
        connects: int = request["connects"]
        await come_and_go(_dialer(request), request["port"], fleet, connects, request["in_flight"])
        return connects

    async def _open_idle(self, request: Request) -> int:
        fleet = self._fleet(request)
        self._idle += await open_all(_dialer(request), request["port"], fleet, request["in_flight"])
        return len(fleet)

    async def _close_idle(self, _request: Request) -> int:
        clients, self._idle = self._idle, []
        await run_bounded(lambda number: clients[number].leave(), range(len(clients)), 100)
        return len(clients)

    async def _prepare_messages(self, request: Request) -> int:
        fleet = self._fleet(request)
        clients = await open_all(_dialer(request), request["port"], fleet, request["in_flight"])
        each: int = request["messages"] // len(fleet)
        self._lanes = [open_lane(client, each) for client in clients]
        return each * len(clients)

    async def _send_messages(self, _request: Request) -> int:
        return exchange(self._lanes)

    async def _check_messages(self, _request: Request) -> int:
        lanes, self._lanes = self._lanes, []
        return count_answers(lanes)

    async def _prepare_onboarding(self, request: Request) -> int:
        self._onboarders = [Onboarder.of(device) for device in self._fleet(request)]
        return len(self._onboarders)

    async def _onboard(self, request: Request) -> int:
        dialer, onboarders = _dialer(request), self._onboarders

        async def once(number: int) -> None:
            self._onboarded.append(await onboard(dialer, request["port"], request["id_scope"], onboarders[number]))

        await run_bounded(once, range(len(onboarders)), request["in_flight"])
        return len(onboarders)

    async def _save_onboarded(self, request: Request) -> int:
        devices, self._onboarded = self._onboarded, []
        write_fleet(Path(request["path"]), devices)
        return len(devices)

    def _fleet(self, request: Request) -> list[Device]:
        """Return `devices` of the fleet in a file, from `first` on; a file is read once."""
        path: str = request["fleet"]
        if path not in self._fleets:
            self._fleets[path] = read_fleet(Path(path))
        devices = self._fleets[path][request["first"] : request["first"] + request["devices"]]
        if len(devices) < request["devices"]:
            raise Refused(
                f"{path} has {len(self._fleets[path])} devices, not {request['devices']} from {request['first']}"
            )
        return devices


def _dialer(request: Request) -> Dialer:
    return Dialer(parse_pem_certificates(Path(request["ca_file"]).read_bytes()), request.get("tls", "1.3"))


async def serve() -> None:
    """Do what standard input says, until it ends."""
    generator = Generator()
    while line := await asyncio.to_thread(sys.stdin.readline):
        # A collection in the middle of a load would keep the server waiting.
        gc.collect()
        gc.disable()
        print(json.dumps(await generator.do(json.loads(line))), flush=True)
        gc.enable()


if __name__ == "__main__":
    asyncio.run(serve())
