"""Loads of connections: devices that come and go, and devices that stay and say nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from bench.client import HOST, Client, Dialer
from bench.fleet import Device

API_VERSION = "2020-09-30"


async def open_hub_connection(dialer: Dialer, port: int, device: Device) -> Client:
    """Connect a device to the hub, as the SDKs do: TLS with its certificate, CONNECT, CONNACK."""
    client = Client()
    await dialer.open(port, client, device.leaf, device.issuing_ca, device.key)
    await client.connect(device.device_id, f"{HOST}/{device.device_id}/?api-version={API_VERSION}")
    return client


async def come_and_go(dialer: Dialer, port: int, devices: Sequence[Device], count: int, in_flight: int) -> None:
    """Let devices in turn connect and disconnect `count` times, so many at a time."""

    async def once(number: int) -> None:
        client = await open_hub_connection(dialer, port, devices[number % len(devices)])
        await client.leave()

    await run_bounded(once, range(count), in_flight)


async def open_all(dialer: Dialer, port: int, devices: Sequence[Device], in_flight: int) -> list[Client]:
    """Connect every device; they stay."""
    clients: list[Client] = []

    async def once(number: int) -> None:
        clients.append(await open_hub_connection(dialer, port, devices[number]))

    await run_bounded(once, range(len(devices)), in_flight)
    return clients


async def run_bounded(once: Callable[[int], Awaitable[None]], numbers: Iterable[int], in_flight: int) -> None:
    """Run `once` for every number, so many at a time; the first failure ends them all."""
    waiting = iter(numbers)

    async def worker() -> None:
        for number in waiting:
            await once(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(worker())
