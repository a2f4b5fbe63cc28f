"""Revoking a policy under many connected devices: all of them end within a second, nobody else's do."""

import asyncio
import logging
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from adr.registry import AdrRegistry
from certs.csr import CertificateRequest
from certs.keyfile import FileKeyStore
from emulator.state import StateDirectory
from emulator.store import SqliteStore
from hub.identity import Authentication, AuthenticationType
from hub.registry import DeviceRegistry
from tests.conformance.management import Management
from tests.conformance.plain_device import key_pem, p256, pem_of
from tests.conformance.running_emulator import RunningEmulator, start_emulator

TWO_POLICIES = """
namespaces: {works: {policies: {harmed: {}, spared: {}}}}
hubs: {hub1: {namespace: works}}
"""
SECONDS = 1.0
logger = logging.getLogger("load")


@dataclass
class Connected:
    """A device that is connected, and when the server closed its connection."""

    device_id: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    closed_at: float | None = None

    async def watch(self) -> None:
        """Wait for the end of the connection."""
        try:
            while await self.reader.read(100):
                pass
        except (ConnectionError, ssl.SSLError):
            pass
        self.closed_at = time.monotonic()


def connect_packet(device_id: str) -> bytes:
    """An MQTT 3.1.1 CONNECT with a keep-alive of ten minutes."""
    texts = (device_id, f"localhost/{device_id}/?api-version=2021-04-12")
    payload = b"".join(len(text).to_bytes(2, "big") + text.encode() for text in texts)
    body = b"\x00\x04MQTT\x04\x82\x02\x58" + payload
    assert len(body) < 128
    return bytes((0x10, len(body))) + body


def prepare(state_dir: Path, directory: Path, policy: str, device_ids: Sequence[str]) -> dict[str, ssl.SSLContext]:
    """Give devices of a stopped emulator their identities and certificates, all for one key."""
    key, now, state = p256(), datetime.now(UTC), StateDirectory(state_dir)
    contexts = {}
    with SqliteStore(state.database) as store:
        adr, registry = AdrRegistry(store, FileKeyStore(state.keys)), DeviceRegistry(store, "hub1")
        for device_id in device_ids:
            adr.register_device("works", device_id, policy, now)
            registry.provision(device_id, Authentication(AuthenticationType.CERTIFICATE_AUTHORITY), now)
            chain = adr.issue("works", device_id, CertificateRequest(device_id, key.public_key(), b""), now)
            file = directory / "pair.pem"
            file.write_bytes(pem_of(chain.leaf, chain.issuing_ca) + key_pem(key))
            context = ssl.create_default_context(cafile=str(state.server_ca))
            context.load_cert_chain(file)
            contexts[device_id] = context
        store.commit()
    return contexts


async def connect_all(port: int, contexts: dict[str, ssl.SSLContext]) -> list[Connected]:
    gate = asyncio.Semaphore(50)

    async def connect(device_id: str, context: ssl.SSLContext) -> Connected:
        async with gate:
            reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
            writer.write(connect_packet(device_id))
            assert await reader.readexactly(4) == b"\x20\x02\x00\x00"
        return Connected(device_id, reader, writer)

    return list(await asyncio.gather(*(connect(*each) for each in contexts.items())))


async def revoke_and_watch(emulator: RunningEmulator, groups: dict[str, dict[str, ssl.SSLContext]]) -> dict[str, Any]:
    """Connect everybody, revoke the first policy, and tell when whose connections ended."""
    harmed = await connect_all(emulator.mqtt_port, groups["harmed"])
    spared = await connect_all(emulator.mqtt_port, groups["spared"])
    watching = [asyncio.create_task(each.watch()) for each in (*harmed, *spared)]
    await asyncio.sleep(0.1)
    management, path = Management(emulator), "namespaces/works/credentials/default/policies/harmed/revokeIssuer"
    started = time.monotonic()
    await asyncio.to_thread(management.done, "POST", path)
    answered = time.monotonic() - started
    await asyncio.wait(watching[: len(harmed)], timeout=10)
    await asyncio.sleep(0.3)
    ended = [each.closed_at - started for each in harmed if each.closed_at is not None]
    lost = [each.device_id for each in spared if each.closed_at is not None]
    for each in (*harmed, *spared):
        each.writer.transport.abort()
    await asyncio.gather(*watching)
    return {"answered": answered, "ended": ended, "lost": lost}


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.load)])
async def test_policy_revoked_under_connected_devices(tmp_path: Path, count: int) -> None:
    """`revokeIssuer` ends every connection of its policy within one second, and none of another policy."""
    assert start_emulator(tmp_path, config=TWO_POLICIES).stop() == 0
    state_dir = tmp_path / "state"
    groups = {
        policy: prepare(state_dir, tmp_path, policy, [f"{policy}-{number}" for number in range(size)])
        for policy, size in (("harmed", count), ("spared", count // 5))
    }
    emulator = start_emulator(tmp_path)
    try:
        seen = await revoke_and_watch(emulator, groups)
    finally:
        emulator.stop()
    assert len(seen["ended"]) == count
    assert seen["lost"] == []
    logger.info("%d devices: the last connection ended after %.3f s", count, max(seen["ended"]))
    assert max(seen["ended"]) < SECONDS, f"{count} devices: answered after {seen['answered']:.3f} s"
