import asyncio

import pytest

from broker.outbox import Outbox


class Log:
    """A commit and receivers that write down, in one list, what happens to them."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.commit_fails = False
        self.outbox = Outbox(self.commit)

    def commit(self) -> None:
        self.events.append("commit")
        if self.commit_fails:
            raise OSError("disk full")


class Receiver:
    def __init__(self, log: Log, name: str) -> None:
        self.log = log
        self.name = name
        self.fails = False

    def write_now(self, data: bytes) -> None:
        if self.fails:
            raise RuntimeError("transport is broken")
        self.log.events.append(f"{self.name} {data.decode()}".rstrip())

    def drop(self, reason: str) -> None:
        self.log.events.append(f"{self.name} dropped: {reason}")


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def anna(log: Log) -> Receiver:
    return Receiver(log, "anna")


@pytest.fixture
def bert(log: Log) -> Receiver:
    return Receiver(log, "bert")


async def a_turn() -> None:
    await asyncio.sleep(0)


async def test_bytes_leave_after_the_commit_not_before(log: Log, anna: Receiver) -> None:
    log.outbox.post(anna, b"puback")
    assert log.events == []
    await a_turn()
    assert log.events == ["commit", "anna puback"]


async def test_one_commit_serves_everything_of_a_turn(log: Log, anna: Receiver, bert: Receiver) -> None:
    log.outbox.touch()
    for receiver in (anna, bert, anna):
        log.outbox.post(receiver, b"x")
        log.outbox.touch()
    await a_turn()
    await a_turn()
    assert log.events.count("commit") == 1


async def test_bytes_of_one_receiver_are_joined_in_order(log: Log, anna: Receiver, bert: Receiver) -> None:
    for receiver, data in ((anna, b"1"), (bert, b"a"), (anna, b"2"), (bert, b""), (anna, b"3")):
        log.outbox.post(receiver, data)
    await a_turn()
    assert log.events == ["commit", "anna 123", "bert a"]


async def test_receiver_without_bytes_is_told_after_the_commit_too(log: Log, anna: Receiver) -> None:
    log.outbox.post(anna, b"")
    await a_turn()
    assert log.events == ["commit", "anna"]


async def test_touch_commits_though_nobody_waits(log: Log) -> None:
    log.outbox.touch()
    await a_turn()
    assert log.events == ["commit"]


async def test_nothing_is_committed_when_nothing_happened(log: Log) -> None:
    await a_turn()
    assert log.events == []


async def test_next_turn_has_its_own_commit(log: Log, anna: Receiver) -> None:
    log.outbox.post(anna, b"1")
    await a_turn()
    log.outbox.post(anna, b"2")
    await a_turn()
    assert log.events == ["commit", "anna 1", "commit", "anna 2"]


async def test_what_is_posted_while_bytes_are_written_waits_for_the_next_commit(log: Log, bert: Receiver) -> None:
    class Poster(Receiver):
        def write_now(self, data: bytes) -> None:
            super().write_now(data)
            self.log.outbox.post(bert, b"because of it")

    log.outbox.post(Poster(log, "anna"), b"1")
    await a_turn()
    assert log.events == ["commit", "anna 1"]
    await a_turn()
    assert log.events == ["commit", "anna 1", "commit", "bert because of it"]


async def test_failed_commit_drops_who_waits_without_a_byte(log: Log, anna: Receiver, bert: Receiver) -> None:
    log.commit_fails = True
    log.outbox.post(anna, b"puback")
    log.outbox.post(bert, b"")
    await a_turn()
    assert log.events == [
        "commit",
        "anna dropped: could not store: disk full",
        "bert dropped: could not store: disk full",
    ]


async def test_turn_after_a_failed_commit_is_served(log: Log, anna: Receiver, bert: Receiver) -> None:
    log.commit_fails = True
    log.outbox.post(anna, b"lost")
    await a_turn()
    log.commit_fails = False
    log.events.clear()
    log.outbox.post(bert, b"kept")
    await a_turn()
    assert log.events == ["commit", "bert kept"]


async def test_receiver_that_cannot_write_is_dropped_and_the_next_one_is_served(
    log: Log, anna: Receiver, bert: Receiver
) -> None:
    anna.fails = True
    log.outbox.post(anna, b"1")
    log.outbox.post(bert, b"2")
    await a_turn()
    assert log.events == ["commit", "anna dropped: could not write", "bert 2"]


async def test_flush_at_once_leaves_nothing_for_the_turn_that_was_scheduled(log: Log, anna: Receiver) -> None:
    log.outbox.post(anna, b"1")
    log.outbox.flush()
    await a_turn()
    assert log.events.count("anna 1") == 1
