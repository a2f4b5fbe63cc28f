"""Malformed MQTT against the front: `python -m bench.fuzz --seconds 60` ends with 1 and a script to replay on failure.

Each execution is a script: bytes for up to three connections of one broker, in pieces, with turns of the event loop
between them. The bytes are mutations of valid sessions made of `tests/vectors/mqtt_packets.json`, or noise. The
transport is in memory, everything above it is the real front. Start at `Target.execute`, which says what must hold.
`bench.guided_fuzz` lets Atheris choose the bytes instead.
"""

import argparse
import asyncio
import gc
import json
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from broker.connection import MAX_PACKET_BYTES, Connection
from broker.gateway import Action, Publish, Session
from broker.packets import MalformedPacket, Pingreq, Pingresp, Puback, format_packet
from tests.doubles.front import CONNECT_TURNS, Front, connect_packet
from tests.doubles.transport import MemoryClient

VECTORS: Final = Path(__file__).parents[1] / "tests" / "vectors" / "mqtt_packets.json"
TURN: Final = "."
# Bytes that MQTT gives a meaning: lengths, first bytes of packets, wildcards, the ends of UTF-8.
TELLING_BYTES: Final = bytes((0, 1, 2, 3, 4, 0x10, 0x30, 0x32, 0x34, 0x3F, 0x62, 0x7F, 0x80, 0x82, 0xC0, 0xE0, 0xFF))


@dataclass(frozen=True)
class Step:
    """Bytes for one connection, or (`connection` is None) a turn of the event loop."""

    connection: int | None
    data: bytes = b""

    def __str__(self) -> str:
        return TURN if self.connection is None else f"{self.connection}:{self.data.hex()}"


Script = list[Step]


def format_script(script: Script) -> str:
    """Write a script so that `--replay` can read it."""
    return " ".join(map(str, script))


def parse_script(text: str) -> Script:
    """Read what `format_script` wrote.

    Raises:
        ValueError: it is something else.
    """
    return [_parse_step(word) for word in text.split()]


def _parse_step(word: str) -> Step:
    if word == TURN:
        return Step(None)
    number, _, data = word.partition(":")
    return Step(int(number), bytes.fromhex(data))


class Streams:
    """Makes scripts out of a seed; the same seed makes the same scripts."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        vectors: list[dict[str, Any]] = json.loads(VECTORS.read_text())
        self._valid = [bytes.fromhex(vector["input"]) for vector in vectors if "packet" in vector["expect"]]
        self._any = [bytes.fromhex(vector["input"]) for vector in vectors]
        self._connects = [format_packet(connect_packet(f"dev{n}", clean_session=n > 0)) for n in range(3)]
        self._changes = (
            self._flip,
            self._tell,
            self._remove,
            self._repeat,
            self._precede_by_noise,
            self._precede_by_packet,
        )

    def script(self) -> Script:
        """The next script: one to three streams, cut into pieces that come in any order of connections."""
        streams = [list(self._cut(self._stream())) for _ in range(self._random.choice((1, 1, 2, 3)))]
        script: Script = []
        while any(streams):
            connection = self._random.choice([n for n, pieces in enumerate(streams) if pieces])
            script.append(Step(connection, streams[connection].pop(0)))
            if self._random.random() < 0.4:
                script.append(Step(None))
        return script

    def _stream(self) -> bytes:
        kind = self._random.random()
        if kind < 0.05:
            return self._random.randbytes(self._random.randrange(1, 200))
        packets = [self._random.choice(self._connects)] if kind < 0.9 else []
        corpus = self._any if kind < 0.2 else self._valid
        packets += self._random.choices(corpus, k=self._random.randrange(12))
        stream = b"".join(packets)
        for _ in range(self._random.choice((0, 0, 1, 1, 2, 5))):
            stream = self._mutate(stream, protected=self._random.choice((0, len(packets[0]) if packets else 0)))
        return stream

    def _mutate(self, stream: bytes, protected: int) -> bytes:
        """Change a stream behind its first `protected` bytes."""
        if len(stream) <= protected:
            return stream + self._random.randbytes(4)
        at = self._random.randrange(protected, len(stream))
        if self._random.random() < 0.15:
            return stream[:at]
        to = min(len(stream), at + self._random.choice((1, 1, 2, 4, 16, 64)))
        return stream[:at] + self._random.choice(self._changes)(stream[at:to]) + stream[to:]

    def _flip(self, part: bytes) -> bytes:
        return bytes((part[0] ^ 1 << self._random.randrange(8),)) + part[1:]

    def _tell(self, part: bytes) -> bytes:
        return bytes((self._random.choice(TELLING_BYTES),)) + part[1:]

    def _remove(self, part: bytes) -> bytes:  # noqa: ARG002 - one signature for all changes
        return b""

    def _repeat(self, part: bytes) -> bytes:
        return part * self._random.choice((2, 3, 100))

    def _precede_by_noise(self, part: bytes) -> bytes:
        return self._random.randbytes(self._random.choice((1, 2, 8, 300))) + part

    def _precede_by_packet(self, part: bytes) -> bytes:
        return self._random.choice(self._any) + part

    def _cut(self, stream: bytes) -> Iterator[bytes]:
        longest = self._random.choice((1, 3, 20, 1000, 1 << 20))
        if longest == 1 and len(stream) > 300:
            longest = 20
        while stream:
            size = self._random.randint(1, longest)
            yield stream[:size]
            stream = stream[size:]


class Errors(logging.Handler):
    """Keeps what the broker logs as an error: behind each is an exception that it had to catch."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        trouble = record.exc_info[1] if record.exc_info else None
        self.messages.append(f"{record.getMessage()} ({trouble!r})")

    def take(self) -> list[str]:
        """What came since the last call."""
        messages, self.messages = self.messages, []
        return messages


class Target:
    """A front with a bystander, whose connection must never suffer."""

    def __init__(self) -> None:
        self.front = Front()
        self.errors = Errors()
        self.reached: Counter[str] = Counter()
        self.front.gateway.on_receive = _echo

    async def open(self) -> None:
        """Start the broker and connect the bystander."""
        logger = logging.getLogger("broker")
        logger.handlers, logger.propagate = [self.errors], False
        logger.setLevel(logging.ERROR)
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: self.errors.messages.append(f"escaped to the loop: {context}")
        )
        await self.front.broker.start()
        self.bystander = await self.front.connect("bystander")

    async def execute(self, script: Script) -> str:
        """Run one script and name the first thing that does not hold, or return an empty text."""
        self.front.gateway.calls.clear()
        self.front.gateway.requests.clear()
        clients: dict[int, MemoryClient] = {}
        try:
            for step in script:
                await self._take(step, clients)
            await self.bystander.settle(CONNECT_TURNS)
        except Exception as error:  # noqa: BLE001 - any exception is the find
            return f"exception escaped: {error!r}"
        failure = self._check_answers(clients)
        for client in clients.values():
            client.transport.close()
        await self.bystander.settle(3)
        return failure or self._check_rest() or await self._check_bystander()

    async def _take(self, step: Step, clients: dict[int, MemoryClient]) -> None:
        if step.connection is None:
            await asyncio.sleep(0)
            return
        client = clients.get(step.connection)
        if client is None:
            client = clients[step.connection] = self.front.arrive()
        if not client.transport.closed:
            client.connection.data_received(step.data)

    def _check_answers(self, clients: dict[int, MemoryClient]) -> str:
        acknowledged = 0
        for client in clients.values():
            # No script is long enough to fill the reader; what it is ready to wait for tells as much.
            reader = client.connection._reader
            if max(len(reader._pending), reader._needed) > MAX_PACKET_BYTES:
                return f"the reader holds {len(reader._pending)} bytes and waits for {reader._needed}"
            try:
                answers = client.transport.packets()
            except MalformedPacket as error:
                return f"the front answers malformed: {error}"
            acknowledged += sum(isinstance(answer, Puback) for answer in answers)
            self.reached.update(type(answer).__name__ for answer in answers)
        taken = sum(call[3] == 1 for call in self.front.gateway.named("receive"))
        return f"{acknowledged} PUBACK for {taken} messages" if acknowledged > taken else ""

    def _check_rest(self) -> str:
        if errors := self.errors.take():
            return f"logged as an error: {errors[0]}"
        broker, gateway = self.front.broker, self.front.gateway
        if list(broker._sessions) != ["hub/bystander"]:
            return f"sessions left: {list(broker._sessions)}"
        if broker._connections != {self.bystander.connection} or broker._adoptions:
            return f"{len(broker._connections)} connections and {len(broker._adoptions)} adoptions left"
        opened, ended = len(gateway.named("opened")), len(gateway.named("disconnected"))
        return f"{opened} sessions opened, {ended} ended" if opened != ended else ""

    async def _check_bystander(self) -> str:
        answer = await self.bystander.exchange(Pingreq())
        return "" if answer == [Pingresp()] else f"the bystander's PINGREQ is answered by {answer}"

    async def close(self) -> str:
        """End, and name what is left behind."""
        await self.front.broker.shutdown()
        await self.bystander.settle()
        gc.collect()
        left = sum(isinstance(each, Connection) for each in gc.get_objects())
        return f"{left} connections are still in memory" if left > 1 else ""


def _echo(session: Session, topic: str, payload: bytes) -> list[Action]:
    return [Publish(session.key, topic, payload, len(payload) % 2, "token")]


@dataclass
class Outcome:
    """What a run came to; `failure` is empty when all held."""

    seed: int
    executions: int = 0
    bytes_sent: int = 0
    seconds: float = 0.0
    failure: str = ""
    script: str = ""
    reached: Counter[str] | None = None

    def __str__(self) -> str:
        rate = self.executions / self.seconds if self.seconds else 0
        answers = ", ".join(f"{count} {name}" for name, count in sorted((self.reached or {}).items()))
        lines = [
            f"seed {self.seed}: {self.executions} executions in {self.seconds:.1f} s ({rate:.0f}/s)",
            f"{self.bytes_sent / 1e6:.1f} MB sent; answers: {answers}",
        ]
        if self.failure:
            lines += [f"FAILED: {self.failure}", f"replay with: --replay '{self.script}'"]
        return "\n".join(lines)


async def fuzz(seconds: float, seed: int) -> Outcome:
    """Execute scripts for so long, or until one fails."""
    target, streams, outcome = Target(), Streams(seed), Outcome(seed)
    await target.open()
    started = time.monotonic()
    while not outcome.failure and (outcome.seconds < seconds or not outcome.executions):
        script = streams.script()
        outcome.failure = await target.execute(script)
        outcome.executions += 1
        outcome.bytes_sent += sum(len(step.data) for step in script)
        outcome.seconds = time.monotonic() - started
        outcome.script = format_script(script) if outcome.failure else ""
    outcome.failure = outcome.failure or await target.close()
    outcome.reached = target.reached
    return outcome


async def replay(text: str) -> Outcome:
    """Execute one script."""
    target, outcome = Target(), Outcome(0, executions=1, script=text)
    await target.open()
    outcome.failure = await target.execute(parse_script(text)) or await target.close()
    outcome.reached = target.reached
    return outcome


def main() -> int:
    """Run from the command line: 0 when all held, 1 when something did not."""
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long to go on (default 60)")
    parser.add_argument("--seed", type=int, default=None, help="repeat a run (default: from the clock)")
    parser.add_argument("--replay", metavar="SCRIPT", help="execute one script that failed")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else time.time_ns() % 1_000_000
    outcome = asyncio.run(replay(options.replay) if options.replay else fuzz(options.seconds, seed))
    print(outcome)
    return 1 if outcome.failure else 0


if __name__ == "__main__":
    sys.exit(main())
