import asyncio
from typing import Any

import pytest

from device_sim.address_book import AddressBook, name_to_look_up
from device_sim.timer_wheel import TimerWheel


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("hub-us.localhost", "localhost"),
        ("a.b.LOCALHOST", "localhost"),
        ("localhost", "localhost"),
        ("notlocalhost", "notlocalhost"),
        ("hub.localhost.example", "hub.localhost.example"),
        ("hub1.azure-devices.net", "hub1.azure-devices.net"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_names_under_localhost_are_this_machine(host: str, name: str) -> None:
    assert name_to_look_up(host) == name


class Peer:
    """Stands in for a socket that is connected."""

    def getpeername(self) -> tuple[str, int]:
        return "192.0.2.7", 8883


class Resolver:
    """Stands in for the ways to a socket: notes who is looked up, and answers when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looked_up: list[str] = []
        self.begun: list[str] = []
        self.answers: list[asyncio.Future[Peer]] = []
        monkeypatch.setattr("device_sim.address_book.connect", self.connect)
        monkeypatch.setattr("device_sim.address_book.begin_connecting", self.begin)

    async def connect(self, host: str, _port: int) -> Peer:
        self.looked_up.append(host)
        self.answers.append(asyncio.get_running_loop().create_future())
        return await self.answers[-1]

    def begin(self, address: str, _port: int) -> Peer:
        self.begun.append(address)
        return Peer()


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    return Resolver(monkeypatch)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_devices_that_set_out_at_once_ask_the_resolver_once(resolver: Resolver) -> None:
    book = AddressBook(TimerWheel())
    tasks = [asyncio.ensure_future(book.connect("hub.localhost", 8883, 30)) for _ in range(10)]
    await settle()
    assert resolver.looked_up == ["localhost"]
    resolver.answers[0].set_result(Peer())
    await asyncio.gather(*tasks)
    await book.connect("hub.localhost", 8883, 30)
    assert (resolver.looked_up, resolver.begun) == (["localhost"], ["192.0.2.7"] * 10)


async def test_those_who_waited_for_a_failure_look_for_themselves(resolver: Resolver) -> None:
    book = AddressBook(TimerWheel())
    tasks = [asyncio.ensure_future(book.connect("dps.example", 8883, 30)) for _ in range(3)]
    await settle()
    resolver.answers[0].set_exception(ConnectionRefusedError("no"))
    await settle()
    assert len(resolver.answers) == 3
    for answer in resolver.answers[1:]:
        answer.set_result(Peer())
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes[0], ConnectionRefusedError)
    assert all(isinstance(each, Peer) for each in outcomes[1:])


async def test_a_device_that_gives_up_looking_leaves_the_others_to_look(resolver: Resolver) -> None:
    book = AddressBook(TimerWheel())
    first, second = (asyncio.ensure_future(book.connect("dps.example", 8883, 30)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    assert len(resolver.answers) == 2
    resolver.answers[1].set_result(Peer())
    assert isinstance(await second, Peer)


def test_waiting_for_an_address_is_bounded(resolver: Resolver, run: Any) -> None:
    async def scenario() -> None:
        book = AddressBook(TimerWheel())
        looking = asyncio.ensure_future(book.connect("dps.example", 8883, 30))
        await settle()
        with pytest.raises(TimeoutError):
            await book.connect("dps.example", 8883, 20)
        assert len(resolver.looked_up) == 1
        with pytest.raises(TimeoutError):
            await looking

    assert run(scenario())[1] == pytest.approx(30, abs=0.0011)


async def test_a_forgotten_host_is_looked_up_again(resolver: Resolver) -> None:
    book = AddressBook(TimerWheel())
    for _ in range(2):
        task = asyncio.ensure_future(book.connect("dps.example", 8883, 30))
        await settle()
        resolver.answers[-1].set_result(Peer())
        await task
        book.forget("dps.example")
    assert len(resolver.looked_up) == 2
