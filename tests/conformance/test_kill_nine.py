"""What was acknowledged stays: through `kill -9` at any moment, and through a full disk."""

import asyncio
import json
import random
import resource
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certs.keys import KeyType, generate_key
from device_sim.credential import ClientCertificate
from emulator.bootstrap import open_dev_ca
from tests.conformance.plain_device import (
    DpsClient,
    HubClient,
    Pair,
    certificates_of,
    csr_text,
    key_pem,
    p256,
    pem_of,
    tls_context,
)
from tests.conformance.running_emulator import RunningEmulator, start_emulator
from tests.conformance.witness import Site, Witness, live_all

DEVICES = 200
MESSAGES = 4
KILLS = 10
# Each device hears of its registration, its chain, its messages, its renewal and the renewed chain.
ANSWERS = DEVICES * (4 + MESSAGES)


class Executioner:
    """Kills the emulator after so many answers, and starts it again on the same state and ports."""

    def __init__(self, emulator: RunningEmulator, directory: Path, seed: int) -> None:
        self._random = random.Random(seed)
        self._moments = set(self._random.sample(range(1, ANSWERS - 50), KILLS))
        self._directory = directory
        self._heard = 0
        self._restart: asyncio.Task[None] | None = None
        self.emulator = emulator
        self.kills = 0

    def heard(self) -> None:
        """Count an answer; some of them are followed by a kill, at once or within two milliseconds."""
        self._heard += 1
        if self._heard in self._moments:
            asyncio.get_running_loop().call_later(self._random.uniform(0, 0.002), self._kill)

    def _kill(self) -> None:
        if self._restart is not None and not self._restart.done():
            return  # it is dead already
        self.emulator.process.kill()
        self.kills += 1
        self._restart = asyncio.create_task(self._start_again())

    async def _start_again(self) -> None:
        await asyncio.to_thread(self.emulator.process.wait)
        self.emulator = await asyncio.to_thread(start_emulator, self._directory, *self.emulator.ports)

    async def settle(self) -> None:
        """Kill it once more, when all is quiet, and wait until it is back."""
        if self._restart is not None:
            await self._restart
        self._kill()
        assert self._restart is not None
        await self._restart


def credentials(state_dir: Path) -> list[ClientCertificate]:
    authority, now = open_dev_ca(state_dir), datetime.now(UTC)
    assert authority is not None
    made = []
    for number in range(DEVICES):
        key = generate_key(KeyType.P256)
        leaf = authority.issue_onboarding(f"witness-{number:03}", key.public_key(), now, validity=timedelta(days=1))
        made.append(ClientCertificate((leaf, authority.certificate), key))
    return made


@pytest.mark.slow
async def test_nothing_acknowledged_is_lost_by_kill_nine(tmp_path: Path) -> None:
    """200 devices onboard, send and renew while the emulator is killed again and again: it stands by every answer."""
    emulator = start_emulator(tmp_path)
    executioner = Executioner(emulator, tmp_path, seed=9)
    try:
        site = Site(emulator.mqtt_port, emulator.id_scope(), emulator.ca_file, executioner.heard)
        witnesses = [Witness(site, credential, MESSAGES) for credential in credentials(emulator.state_dir)]
        async with asyncio.timeout(90):
            await live_all(witnesses, 40, Witness.live)
            await executioner.settle()
            await live_all(witnesses, 40, Witness.assert_remembered)
        assert executioner.kills > KILLS // 2
        assert sum(witness.interruptions for witness in witnesses) >= KILLS
        assert_events(executioner.emulator.events(), witnesses)
    finally:
        executioner.emulator.kill()


def assert_events(events: list[dict[str, Any]], witnesses: list[Witness]) -> None:
    """Each acknowledged message is in the log."""
    found = Counter(json.dumps(event["body"]) for event in events)
    acknowledged = [body for witness in witnesses for body in witness.acknowledged]
    assert len(acknowledged) == DEVICES * MESSAGES
    assert set(acknowledged) == set(found)
    # A message whose PUBACK was lost is sent again, and is there twice; nothing else multiplies.
    assert found.total() - len(found) <= sum(witness.interruptions for witness in witnesses)
    assert_no_gaps(events)


def assert_no_gaps(events: list[dict[str, Any]]) -> None:
    """Each partition counts on from event to event."""
    for partition in {event["partition"] for event in events}:
        numbers = [event["sequenceNumber"] for event in events if event["partition"] == partition]
        assert sorted(numbers) == list(range(len(numbers)))


# --- a full disk ---


def onboard(emulator: RunningEmulator, directory: Path, device: str) -> Pair:
    key, onboarding = p256(), emulator.onboarding_pair(device, directory)
    context = tls_context(emulator.ca_file, onboarding)
    with DpsClient.make(emulator.mqtt_port, context, emulator.id_scope(), device).connected() as dps:
        answer = dps.onboard({"csr": csr_text(device, key)})
    chain = certificates_of(answer.state["issuedCertificateChain"])
    return Pair.write(directory, device, pem_of(*chain[:2]), key_pem(key))


def connect(emulator: RunningEmulator, pair: Pair, device: str) -> HubClient:
    return HubClient.make(
        emulator.mqtt_port, tls_context(emulator.ca_file, pair), "localhost", device, clean_session=False
    ).connected()


def limit_files(emulator: RunningEmulator, size: int) -> None:
    """Let no file of the emulator grow beyond `size` bytes: what a full disk looks like to it."""
    resource.prlimit(emulator.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_full_disk_is_told_and_over_when_there_is_room(start: Any, tmp_path: Path) -> None:
    """Who writes is cut off without an answer, who is idle stays; with room again all goes on."""
    emulator = start()
    writer, idler = onboard(emulator, tmp_path, "writer"), onboard(emulator, tmp_path, "idler")
    with connect(emulator, idler, "idler") as idle:
        hub = connect(emulator, writer, "writer")
        hub.send_telemetry({"number": 1})
        limit_files(emulator, (emulator.state_dir / "hublet.sqlite-wal").stat().st_size)
        sent = hub.publish_and_forget("devices/writer/messages/events/", b"x" * 100_000)
        assert hub.wait_closed()
        with suppress(RuntimeError):  # paho's, where the connection ended while it still wrote
            assert not sent.is_published()
        emulator.wait_for_log("could not be written", "everything since the last commit is undone")
        limit_files(emulator, resource.RLIM_INFINITY)
        with connect(emulator, writer, "writer") as hub:
            hub.send_telemetry({"number": 2})
        assert idle.is_connected
        idle.send_telemetry({"still": "here"})
    assert [event["body"] for event in emulator.events("writer")] == [{"number": 1}, {"number": 2}]
    assert_no_gaps(emulator.events())
    emulator.kill()
    restarted = start()
    assert len(restarted.events("writer")) == 2
    connect(restarted, writer, "writer").close()


def test_disk_that_stays_full_refuses_devices_and_keeps_running(start: Any, tmp_path: Path) -> None:
    """Onboarding gets no answer at all rather than one that would be lost; the process lives, and reads still work."""
    emulator = start()
    pair = emulator.onboarding_pair("late", tmp_path)
    limit_files(emulator, (emulator.state_dir / "hublet.sqlite-wal").stat().st_size)
    context = tls_context(emulator.ca_file, pair)
    for _ in range(3):
        dps = DpsClient.make(emulator.mqtt_port, context, emulator.id_scope(), "late").connected()
        dps.publish_and_forget(
            "$dps/registrations/PUT/iotdps-register/?$rid=1", json.dumps({"csr": csr_text("late", p256())}).encode()
        )
        assert dps.wait_closed()
        assert dps.messages.empty()
    assert json.loads(emulator.get("/health"))["status"] == "ready"
    limit_files(emulator, resource.RLIM_INFINITY)
    connect(emulator, onboard(emulator, tmp_path, "late"), "late").close()
