from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from certs.authority import CertificateAuthority
from certs.keys import KeyType, PrivateKey, generate_key
from device_sim.compact_store import CompactStore
from device_sim.device_faults import FaultyDevices, PowerLossStore, PowerLost
from device_sim.dialer import Dialer
from device_sim.registration import Assignment
from device_sim.scenario_faults import DeviceFaults
from device_sim.slow_network import SlowLink

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ROOT = CertificateAuthority.create_root("root", NOW)


def faults(**sections: Any) -> FaultyDevices:
    return FaultyDevices(DeviceFaults.model_validate(sections), 1, Dialer((ROOT.certificate,)), lambda: NOW)


def chain_for(key: PrivateKey) -> Any:
    return (ROOT.issue_onboarding("sim", key.public_key(), NOW, validity=timedelta(days=1)), ROOT.certificate)


def test_power_fails_before_the_first_certificate_is_stored_and_then_never_again() -> None:
    store = PowerLossStore(CompactStore())
    key = generate_key(KeyType.P256)
    store.save_assignment(Assignment("hub", "sim"))
    store.save_pending_key(key)
    with pytest.raises(PowerLost) as lost:
        store.save_chain(chain_for(key))
    assert lost.value.reason == "PowerLost"
    assert store.pending_key() is key, "asked for again with the same key"
    assert store.load().certificate is None
    assert store.load().assignment == Assignment("hub", "sim")
    assert store.save_chain(chain_for(key)).key is key
    assert store.load().certificate is not None


def test_device_without_faults_is_left_alone() -> None:
    none = faults()
    store = CompactStore()
    assert none.store(3, store) is store
    assert none.clock(3)() == NOW
    assert not none.reuses_key(3)
    assert none.dialer(3) is none.dialer(4)


def test_share_of_the_devices_is_hit_and_always_the_same() -> None:
    some = faults(power_loss=0.25, key_reuse=0.25)
    hit = [device for device in range(400) if isinstance(some.store(device, CompactStore()), PowerLossStore)]
    assert len(hit) == pytest.approx(100, abs=35)
    assert hit == [device for device in range(400) if isinstance(some.store(device, CompactStore()), PowerLossStore)]
    assert hit != [device for device in range(400) if some.reuses_key(device)], "each fault chooses for itself"


def test_wrong_clock_is_as_wrong_as_it_is_to_be() -> None:
    assert faults(wrong_clock={"share": 1, "offset_seconds": -3600}).clock(0)() == NOW - timedelta(hours=1)


def test_devices_of_one_kind_share_a_dialer_and_every_dialer_shares_contexts() -> None:
    some = faults(wrong_clock={"share": 0.5, "offset_seconds": 60}, slow_network={"share": 0.5, "delay_seconds": 0.1})
    dialers = [some.dialer(device) for device in range(100)]
    assert len({id(dialer) for dialer in dialers}) == 4
    assert len({id(dialer.timers) for dialer in dialers}) == 1
    assert len({id(dialer._contexts) for dialer in dialers}) == 1
    clocks = {id(some.dialer(device)): some.dialer(device)._now for device in range(100)}
    for device in range(100):
        is_wrong = some.clock(device)() != NOW
        assert (clocks[id(some.dialer(device))] == some._wrong_now) == is_wrong


def test_slow_network_goes_between_tcp_and_tls(run: Any) -> None:
    async def scenario() -> None:
        link = faults(slow_network={"share": 1, "delay_seconds": 0.1}).dialer(0)._link
        assert link is not None
        assert isinstance(link(None), SlowLink)  # type: ignore[arg-type]

    run(scenario())
