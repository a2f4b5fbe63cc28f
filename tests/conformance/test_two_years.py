"""Two years of a small fleet: the emulator's clock is moved day by day, and its devices live by it.

What happened is taken from the emulator's audit trail and from the devices' own directories, not from what the devices
say of themselves.
"""

import json
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

import device_sim.credential
from device_sim.certificate_store import DirectoryStore
from device_sim.credential import RENEWAL_FRACTION, SymmetricKey
from device_sim.device import Device
from device_sim.dialer import Dialer, read_trust_anchors
from device_sim.settings import DeviceSettings
from emulator.audit import PAGE
from tests.conformance.running_emulator import RunningEmulator

DAY = timedelta(days=1)
TWO_YEARS = 731
# Leaves of one policy live for a week, of another for a month, of the third for a quarter of a year.
VALIDITIES = {"week": 7 * DAY, "month": 30 * DAY, "quarter": 90 * DAY}
CONFIG = """
namespaces:
  field: {policies: {week: {validity_days: 7}, month: {validity_days: 30}, quarter: {validity_days: 90}}}
hubs: {hub1: {namespace: field}}
dps:
  dps1:
    namespace: field
    retry_after_seconds: 1
    enrollment_groups:
      week: {symmetric_key: generate, credential_policy: week}
      month: {symmetric_key: generate, credential_policy: month}
      quarter: {symmetric_key: generate, credential_policy: quarter}
"""
SLEEPER, SLEEPS, WAKES = "month-sleeper", 100, 200
DEVICES = ("week-1", "month-1", "month-2", SLEEPER, "quarter-1")


@dataclass
class Field:
    """The fleet, its emulator, and the time that both live by."""

    emulator: RunningEmulator
    directory: Path
    now: datetime = field(init=False)
    devices: dict[str, Device] = field(default_factory=dict)
    leaves: dict[str, list[x509.Certificate]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.move({"freeze": True})
        keys = {group["id"]: group["primaryKey"] for group in self.emulator.info["enrollmentGroups"]}
        port, scope = self.emulator.mqtt_port, self.emulator.id_scope()
        settings = DeviceSettings(scope, "localhost", port, port, ca_file=self.emulator.ca_file)
        dialer = Dialer(read_trust_anchors(self.emulator.ca_file))
        for name in DEVICES:
            credential = SymmetricKey.of_group(keys[policy_of(name)], name)
            store = DirectoryStore(self.directory / name)
            self.devices[name] = Device(settings, credential, store, dialer, now=lambda: self.now)

    def move(self, change: Mapping[str, Any]) -> None:
        """Change the emulator's clock, and the devices' with it."""
        url = f"http://127.0.0.1:{self.emulator.control_port}/clock"
        request = urllib.request.Request(url, json.dumps(change).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            self.now = datetime.fromisoformat(json.load(answer)["now"])

    async def pass_days(self, days: int) -> None:
        """Let the fleet live; one device is away for a while."""
        try:
            for day in range(days + 1):
                for name, device in self.devices.items():
                    await self.live_a_day(name, device, day)
                self.move({"advance": "1d"})
        finally:
            for device in self.devices.values():
                await device.close()

    async def live_a_day(self, name: str, device: Device, day: int) -> None:
        if name == SLEEPER and day == SLEEPS:
            await device.close()
        if name == SLEEPER and SLEEPS <= day < WAKES:
            return
        if device.session is None:
            await device.connect()
        if device.is_renewal_due():
            await device.renew()
            await device.connect()
        self.note(name)

    def note(self, name: str) -> None:
        """What a power cut would leave of the device now: a key with its certificate, valid today."""
        certificate = DirectoryStore(self.directory / name).load().certificate
        assert certificate is not None, f"{name} has lost its key or its certificate"
        assert certificate.is_valid(self.now), f"{name} has no valid certificate at {self.now}"
        kept = self.leaves.setdefault(name, [])
        if not kept or kept[-1] != certificate.leaf:
            leaf, issuer, root = certificate.chain
            assert leaf.not_valid_after_utc <= issuer.not_valid_after_utc <= root.not_valid_after_utc
            assert leaf.not_valid_after_utc == (self.now + VALIDITIES[policy_of(name)]).replace(microsecond=0)
            kept.append(leaf)

    def audit(self, *kinds: str, device: str = "") -> list[dict[str, Any]]:
        """The events of these kinds, of one device or of all."""
        events = json.loads(self.emulator.get("/audit"))["events"]
        assert len(events) < PAGE, "the first page has them all"
        return [event for event in events if event["kind"] in kinds and device in ("", event.get("deviceId"))]


def policy_of(name: str) -> str:
    return name.partition("-")[0]


def assert_renewed_on_time(world: Field, days: int) -> None:
    """Between two certificates lie at least 80 % of the first one's life and at most a day more, never all of it."""
    for name in DEVICES:
        events = world.audit("issued", "renewed", device=name)
        times = [datetime.fromisoformat(event["time"]) for event in events]
        validity = VALIDITIES[policy_of(name)]
        assert [event["serialNumber"] for event in events] == [f"{leaf.serial_number:x}" for leaf in world.leaves[name]]
        assert len(events) >= (days - (WAKES - SLEEPS if name == SLEEPER else 0)) * DAY // validity
        for (before, at), (after, next_at) in pairwise(zip(events, times, strict=True)):
            if name == SLEEPER and after["kind"] == "issued":
                assert next_at - at > validity, "it slept until its certificate had expired"
                continue
            assert after["kind"] == "renewed", f"{name} lost {before['serialNumber']} and was issued another"
            assert validity * RENEWAL_FRACTION - DAY <= next_at - at < validity, f"{name} renewed late, at {next_at}"


def assert_issuers_rotated(world: Field) -> None:
    """Each policy got its next issuing CA, and devices were given leaves of both."""
    rotated = [event for event in world.audit("rotated") if event.get("service") == "field"]
    assert len(rotated) == len(VALIDITIES)
    for event in rotated:
        expires = datetime.fromisoformat(event["reason"].split(" expires at ")[1][:10] + "T00:00:00Z")
        assert datetime.fromisoformat(event["time"]) < expires - min(VALIDITIES.values())
    for policy in VALIDITIES:
        leaves = [leaf for name, each in world.leaves.items() if policy_of(name) == policy for leaf in each]
        identifiers = {leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value for leaf in leaves}
        assert len(identifiers) == 2, f"leaves of policy {policy} have {len(identifiers)} issuers"


@pytest.mark.slow
async def test_fleet_lives_two_years(start: Any, tmp_path: Path) -> None:
    """Each device renews in time, none is ever without key and certificate, and one comes back through DPS."""
    world = Field(start(config=CONFIG), tmp_path / "devices")
    await world.pass_days(TWO_YEARS)
    assert_renewed_on_time(world, TWO_YEARS)
    assert_issuers_rotated(world)
    assert [event["kind"] for event in world.audit("issued", device=SLEEPER)] == ["issued", "issued"]
    assert world.audit("refused") == []


async def test_fleet_that_renews_too_late_is_found_out(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the renewal threshold moved beyond the end of the certificate, the same checks fail."""
    monkeypatch.setattr(device_sim.credential, "RENEWAL_FRACTION", 1.1)
    world = Field(start(config=CONFIG), tmp_path / "devices")
    with pytest.raises(AssertionError, match="week-1 has no valid certificate"):
        await world.pass_days(20)
