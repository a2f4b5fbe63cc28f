"""Two hundred devices of the engine through every behaviour, and through every fault of their own."""

import asyncio
import json
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from certs.keys import KeyType, PrivateKey
from device_sim.certificate_store import CertificateStore, DirectoryStore, MemoryStore, StoredDevice
from device_sim.compact_store import CompactStore
from device_sim.credential import ClientCertificate, SymmetricKey
from device_sim.credentials import OnboardingCa, issue_certificates
from device_sim.device import Device
from device_sim.device_faults import PowerLossStore, PowerLost
from device_sim.dialer import Dialer, read_trust_anchors
from device_sim.engine import Engine
from device_sim.errors import CertificateMismatch
from device_sim.phases import Phase
from device_sim.recorder import Recorder
from device_sim.registration import Assignment
from device_sim.scenario import Scenario
from device_sim.settings import DeviceSettings
from device_sim.summary import Snapshot
from emulator.bootstrap import open_dev_ca
from tests.conformance.running_emulator import RunningEmulator, start_emulator

DEVICES = 200

CONFIG = """
namespaces: {factory: {policies: {default: {validity_days: 30}}}}
hubs: {hub1: {namespace: factory}}
dps:
  dps1:
    namespace: factory
    retry_after_seconds: 0
    enrollment_groups:
      by-ca: {ca: dev-ca, credential_policy: default}
      by-key: {symmetric_key: generate, credential_policy: default}
"""


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEmulator]:
    """An emulator whose DPS lets devices ask again at once."""
    running = start_emulator(tmp_path_factory.mktemp("engine"), config=CONFIG)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def settings(quick: RunningEmulator) -> DeviceSettings:
    port = quick.mqtt_port
    return DeviceSettings(quick.id_scope(), "localhost", port, port, ca_file=quick.ca_file)


@pytest.fixture(scope="module")
def credentials(quick: RunningEmulator) -> list[ClientCertificate]:
    authority = open_dev_ca(quick.state_dir)
    assert authority is not None
    names = [f"engine-{number:03}" for number in range(DEVICES)]
    return issue_certificates(OnboardingCa(authority), names, KeyType.P256, timedelta(days=1), datetime.now(UTC))


Run = Callable[..., Snapshot]


@pytest.fixture
def fleet(settings: DeviceSettings, credentials: list[ClientCertificate]) -> Callable[..., tuple[Engine, Recorder]]:
    """Make an engine with its recorder."""

    def make(behaviour: dict[str, Any] | None = None, **more: Any) -> tuple[Engine, Recorder]:
        scenario = Scenario.model_validate({"devices": DEVICES, "behaviour": behaviour or {}, **more})
        recorder = Recorder()
        return Engine(scenario, settings, credentials.__getitem__, recorder), recorder

    return make


@pytest.fixture
def ran(fleet: Any) -> Any:
    """Run a scenario to its end."""

    async def run(behaviour: dict[str, Any] | None = None, **more: Any) -> Snapshot:
        engine, recorder = fleet(behaviour, **more)
        async with asyncio.timeout(120):
            await engine.run()
        snapshot: Snapshot = recorder.snapshot()
        return snapshot

    return run


def times(snapshot: Snapshot, name: str) -> int:
    measured = snapshot.measured(name)
    return measured.times if measured is not None else 0


def errors(snapshot: Snapshot) -> dict[str, int]:
    return {each.reason: each.count for each in snapshot.errors}


def ask(quick: RunningEmulator, method: str, path: str, body: Any = None) -> Any:
    """Ask the hub's service API through the control port."""
    data = None if body is None else json.dumps(body).encode()
    url = f"http://127.0.0.1:{quick.control_port}/hubs/hub1/{path}"
    with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=20) as answer:
        text = answer.read()
    return json.loads(text) if text else None


# --- behaviours ---


async def test_every_message_is_in_the_hub_once_and_all_devices_leave(quick: RunningEmulator, ran: Any) -> None:
    """Three messages each, one after the other; nothing is lost, nothing doubled."""
    before = len(quick.events())
    telemetry = {"messages": 3, "template": '{"device": "$device_id", "n": $message}'}
    snapshot = await ran({"telemetry": telemetry, "leave_when_done": True})
    assert errors(snapshot) == {}
    assert snapshot.states["finished"] == DEVICES
    assert times(snapshot, "telemetry") == 3 * DEVICES
    events = quick.events()[before:]
    assert len({json.dumps(event["body"], sort_keys=True) for event in events}) == len(events) == 3 * DEVICES


async def test_open_loop_keeps_its_rate(ran: Any) -> None:
    """Two messages a second each."""
    behaviour = {
        "telemetry": {"messages_per_second": 2, "messages": 8},
        "think_times": {"before_connect_seconds": [0, 1]},
    }
    snapshot = await ran(behaviour)
    assert errors(snapshot) == {}
    assert times(snapshot, "telemetry") == 8 * DEVICES
    assert snapshot.elapsed_seconds > 3.5, "seven intervals of half a second"


async def test_twins_are_reported(quick: RunningEmulator, ran: Any) -> None:
    """The hub has the last report that was acknowledged."""
    snapshot = await ran({"twin_reports_per_minute": 60}, duration_seconds=6)
    assert errors(snapshot) == {}
    assert times(snapshot, "twin") > DEVICES
    twin = await asyncio.to_thread(ask, quick, "GET", "twins/engine-007")
    assert twin["properties"]["reported"]["reports"] >= 1


async def test_methods_are_answered_and_cloud_to_device_messages_taken(quick: RunningEmulator, fleet: Any) -> None:
    """Each of forty devices is called once and gets a message; the two hundred are connected meanwhile."""
    engine, recorder = fleet({"answer_methods": True, "receive_c2d": True})
    running = asyncio.ensure_future(engine.run())
    await until(lambda: recorder.snapshot().states["connected"] == DEVICES)
    for number in range(40):
        path = f"engine-{number:03}"
        call = {"methodName": "reboot", "payload": {"delay": number}, "responseTimeoutInSeconds": 10}
        answer = await asyncio.to_thread(ask, quick, "POST", f"twins/{path}/methods", call)
        assert answer == {"status": 200, "payload": {"delay": number}}
        await asyncio.to_thread(ask, quick, "POST", f"devices/{path}/messages", {"body": "hello"})
    await until(lambda: times(recorder.snapshot(), "c2d") >= 40)
    engine.stop()
    await running
    assert errors(recorder.snapshot()) == {}
    assert (times(recorder.snapshot(), "method"), times(recorder.snapshot(), "c2d")) == (40, 40)


async def test_storm_of_reconnects_comes_back_without_dps(ran: Any) -> None:
    """All cut their connections at one moment, twice, and come back with the certificates they have."""
    pattern = {"timing": "together", "after_seconds": 0.5, "every_seconds": 4, "times": 2, "abrupt": True}
    snapshot = await ran({"reconnect": pattern})
    assert errors(snapshot) == {}
    assert snapshot.reconnects == 2 * DEVICES
    assert (times(snapshot, "registration"), times(snapshot, "hub_connack")) == (DEVICES, 3 * DEVICES)


async def test_devices_go_back_to_dps(ran: Any) -> None:
    """Half of them, each at a moment of its own."""
    pattern = {"after_seconds": 2, "share": 0.5, "via_dps": True, "jitter": 0.5, "offline_seconds": [0, 0.5]}
    snapshot = await ran({"reconnect": pattern})
    assert errors(snapshot) == {}
    assert snapshot.reconnects == times(snapshot, "registration") - DEVICES
    assert 70 < snapshot.reconnects < 130


async def test_herd_of_renewals_connects_with_the_new_certificates(ran: Any) -> None:
    """All renew at one moment, each connects again with what it got."""
    snapshot = await ran({"renewal": {"timing": "together", "after_seconds": 0.5}})
    assert errors(snapshot) == {}
    assert times(snapshot, "renewal") == DEVICES
    assert snapshot.reconnects >= 1
    assert times(snapshot, "registration") == DEVICES


async def test_symmetric_keys_without_certificates_work_as_well(
    quick: RunningEmulator, settings: DeviceSettings
) -> None:
    """Devices of a group key that ask for no certificate."""
    scenario = Scenario.model_validate({"devices": 50, "csr": False, "behaviour": {"telemetry": {"messages": 1}}})
    key, recorder = quick.group_key(), Recorder()
    await Engine(scenario, settings, lambda n: SymmetricKey.of_group(key, f"engine-key-{n}"), recorder).run()
    assert errors(recorder.snapshot()) == {}
    assert times(recorder.snapshot(), "telemetry") == 50


# --- faults on the devices' side ---


async def test_power_loss_costs_a_registration_and_no_device(ran: Any) -> None:
    """Every device loses its first certificate on the way to its memory, and asks again."""
    snapshot = await ran({"telemetry": {"messages": 1}}, device_faults={"power_loss": 1})
    assert errors(snapshot) == {"PowerLost": DEVICES}
    assert snapshot.states["finished"] == DEVICES
    assert times(snapshot, "register") == 2 * DEVICES


async def test_devices_that_reuse_a_key_are_served(fleet: Any) -> None:
    """All have the first device's key; their certificates are their own."""
    engine, recorder = fleet({"telemetry": {"messages": 1}}, device_faults={"key_reuse": 1})
    await engine.run()
    assert errors(recorder.snapshot()) == {}
    kept = [device._store.load().certificate for device in engine._devices]
    assert len({certificate.key.private_numbers().private_value for certificate in kept}) == 1
    assert len({certificate.leaf.serial_number for certificate in kept}) == DEVICES


async def test_clock_that_is_behind_trusts_no_server(ran: Any) -> None:
    """To a device of the day before yesterday the server's certificate is not valid yet."""
    faults = {"wrong_clock": {"share": 0.25, "offset_seconds": -2 * 86_400}}
    snapshot = await ran({}, device_faults=faults, retry={"attempts": 2, "initial_seconds": 0.2})
    failed = snapshot.states["failed"]
    assert 25 < failed < 75
    assert errors(snapshot) == {"ServerNotTrusted": 2 * failed}
    assert times(snapshot, "onboarding") == DEVICES - failed


async def test_clock_that_is_ahead_holds_its_certificate_for_expired(ran: Any) -> None:
    """A device of the month after next goes back to DPS for a certificate before it comes back to the hub."""
    faults = {"wrong_clock": {"share": 0.25, "offset_seconds": 40 * 86_400}}
    snapshot = await ran({"reconnect": {"timing": "together", "after_seconds": 0.5}}, device_faults=faults)
    again = times(snapshot, "registration") - DEVICES
    assert errors(snapshot) == {}
    assert snapshot.reconnects == DEVICES
    assert 25 < again < 75


async def test_slow_network_delays_its_devices_and_no_others(ran: Any) -> None:
    """A delay of 300 ms each way, on every round trip of a device's way."""
    slow = {"slow_network": {"share": 0.3, "delay_seconds": 0.3, "bytes_per_second": 50_000}}
    snapshot = await ran({"telemetry": {"messages": 1}}, device_faults=slow)
    onboarding = snapshot.latency("onboarding")
    assert errors(snapshot) == {}
    assert onboarding is not None
    delays = 7 * 0.6  # two TLS handshakes, two CONNECTs, SUBSCRIBE, registration and question
    assert onboarding.maximum > delays
    assert onboarding.quantile(0.1) < delays, "the quickest devices are not delayed, however busy the machine is"


# --- a power loss in a renewal: what the pending pair is for ---


class UnprotectedStore:
    """A memory that makes the new key the key in use as soon as it has one: what a simple device does."""

    def __init__(self) -> None:
        self._assignment: Assignment | None = None
        self._chain: tuple[x509.Certificate, ...] = ()
        self._key: PrivateKey | None = None

    def load(self) -> StoredDevice:
        try:
            certificate = ClientCertificate(self._chain, self._key) if self._key is not None else None
        except CertificateMismatch:
            certificate = None
        return StoredDevice(self._assignment, certificate)

    def pending_key(self) -> PrivateKey | None:
        return None

    def save_pending_key(self, key: PrivateKey) -> None:
        self._key = key

    def save_assignment(self, assignment: Assignment) -> None:
        self._assignment = assignment

    def save_chain(self, chain: tuple[x509.Certificate, ...]) -> ClientCertificate:
        assert self._key is not None
        self._chain = chain
        return ClientCertificate(chain, self._key)


async def assert_survives_a_power_loss_in_a_renewal(
    store: CertificateStore, settings: DeviceSettings, credential: ClientCertificate
) -> None:
    """Lose power between the renewed certificate and the memory; the device must come back without DPS, and renew."""
    dialer = Dialer(read_trust_anchors(settings.ca_file))
    first = Device(settings, credential, store, dialer)
    await first.connect()
    await first.close()
    before = Device(settings, credential, PowerLossStore(store), dialer)
    await before.connect()
    with pytest.raises(PowerLost):
        await before.renew()
    assert before.session is not None
    before.session.mqtt.abort()
    after = Device(settings, credential, store, dialer)
    try:
        await after.connect()
        assert Phase.REGISTER not in after.phases.seconds, "it had to go back to DPS: its certificate is lost"
        await after.renew()
        await after.connect()
        assert Phase.REGISTER not in after.phases.seconds
        await after.send_telemetry(b"{}")
    finally:
        await after.close()


@pytest.mark.parametrize("kind", ["memory", "compact", "directory"])
async def test_power_loss_in_a_renewal_leaves_the_certificate_in_use(
    kind: str, settings: DeviceSettings, credentials: list[ClientCertificate], tmp_path: Path
) -> None:
    """The old pair is in use until the new one is complete."""
    stores: dict[str, Callable[[], CertificateStore]] = {
        "memory": MemoryStore,
        "compact": CompactStore,
        "directory": lambda: DirectoryStore(tmp_path),
    }
    await assert_survives_a_power_loss_in_a_renewal(stores[kind](), settings, credentials[0])


async def test_power_loss_does_lose_a_certificate_that_is_not_protected(
    settings: DeviceSettings, credentials: list[ClientCertificate]
) -> None:
    """The same test fails with a memory that has no pending pair: it can fail."""
    with pytest.raises(AssertionError, match="its certificate is lost"):
        await assert_survives_a_power_loss_in_a_renewal(UnprotectedStore(), settings, credentials[1])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is awaited is in another process
            await asyncio.sleep(0.05)
