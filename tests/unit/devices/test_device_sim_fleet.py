from pathlib import Path
from typing import Any

import pytest

from broker.packets import Connack, Connect, Packet, Publish
from device_sim import fleet as fleet_module
from device_sim.credential import SymmetricKey
from device_sim.fleet import DeviceReport, Fleet, FleetPlan, FleetProgress, FleetReport
from device_sim.phases import Phase
from device_sim.settings import DeviceSettings

GROUP_KEY = "c2VjcmV0"


@pytest.fixture
def make_fleet(cloud: Any, settings: DeviceSettings, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(fleet_module, "Dialer", lambda _anchors: cloud)
    monkeypatch.setattr(fleet_module, "read_trust_anchors", lambda _file: ())

    def make(count: int, plan: FleetPlan | None = None, directory: Path | None = None) -> Fleet:
        credentials = [SymmetricKey.of_group(GROUP_KEY, f"sensor-{number:03}") for number in range(count)]
        return Fleet(settings, credentials, plan, directory=directory, now=lambda: cloud.now)

    return make


def test_every_device_is_onboarded_and_sends(cloud: Any, run: Any, make_fleet: Any) -> None:
    fleet = make_fleet(5, FleetPlan(concurrency=2, messages=3, renew=True))
    report, seconds = run(fleet.run())
    assert report.succeeded == 5
    assert report.failures == {}, report.devices
    assert sorted(each.registration_id for each in report.devices) == [f"sensor-{number:03}" for number in range(5)]
    assert {each.hub for each in report.devices} == {"hub1.example"}
    assert all(set(each.seconds) == set(Phase) for each in report.devices)
    assert sum(packet.topic.startswith("devices/") for packet in cloud.sent(Publish)) == 15
    assert all(wire.closing for wire in cloud.wires)
    assert seconds == report.elapsed_seconds == 9, "two at a time, each told once to come back after 3 s"


def test_concurrency_bounds_the_devices_under_way(run: Any, make_fleet: Any) -> None:
    seen: list[FleetProgress] = []
    run(make_fleet(7, FleetPlan(concurrency=3)).run(seen.append))
    assert max(progress.under_way for progress in seen) == 3
    assert seen[-1] == FleetProgress(total=7, under_way=0, succeeded=7, failed=0)
    assert len(seen) == 14


def test_failures_are_counted_by_their_reason(cloud: Any, run: Any, make_fleet: Any) -> None:
    def reply(_wire: Any, packet: Packet) -> list[Packet] | None:
        if isinstance(packet, Connect) and packet.client_id in {"sensor-001", "sensor-002"}:
            return [Connack(session_present=False, return_code=5)]
        return None

    cloud.reply = reply
    report, _ = run(make_fleet(4).run())
    assert report.failures == {"ConnectionRefused 5": 2}
    assert report.succeeded == 2
    refused = next(each for each in report.devices if each.registration_id == "sensor-001")
    assert "CONNACK 5" in refused.detail
    assert (refused.hub, list(refused.seconds)) == ("", [Phase.DPS_TLS])


def test_unusable_directory_is_a_failure_of_its_device(run: Any, make_fleet: Any, tmp_path: Path) -> None:
    (tmp_path / "sensor-000").write_text("in the way")
    report, _ = run(make_fleet(2, directory=tmp_path).run())
    assert report.failures == {"NotADirectoryError": 1}
    assert (tmp_path / "sensor-001" / "device.pem").exists()


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden"])
def test_registration_id_that_cannot_name_a_folder_is_refused(
    settings: DeviceSettings, make_fleet: Any, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ValueError, match="cannot name a folder"):
        Fleet(settings, [SymmetricKey(name, GROUP_KEY)], directory=tmp_path)


def test_connections_stay_until_the_fleet_is_closed(cloud: Any, run: Any, make_fleet: Any) -> None:
    fleet = make_fleet(3, FleetPlan(stay_connected=True))

    async def scenario() -> None:
        await fleet.run()
        hubs = [wire for wire in cloud.wires if wire.connect.user_name.startswith("hub1")]
        assert [wire.closing for wire in hubs] == [False] * 3
        await fleet.close()
        assert [wire.closing for wire in hubs] == [True] * 3

    run(scenario())


def test_percentile_is_the_nearest_rank() -> None:
    devices = tuple(DeviceReport(str(n), "", "", {Phase.REGISTER: float(n)}) for n in (4, 1, 3, 2))
    report = FleetReport(devices, 1.0)
    assert [report.percentile(Phase.REGISTER, fraction) for fraction in (0, 0.5, 0.51, 0.99, 1)] == [1, 2, 3, 4, 4]
    assert report.percentile(Phase.RENEWAL, 0.5) is None


def test_empty_fleet_is_done_at_once(run: Any, make_fleet: Any) -> None:
    assert run(make_fleet(0).run())[0].devices == ()
