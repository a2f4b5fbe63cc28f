import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from device_sim.metrics import BOUNDS, FleetCollector
from device_sim.phases import Phase
from device_sim.recorder import DeviceState, Recorder


def scrape(recorder: Recorder) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Read the metrics as Prometheus does: a value for each name and labels."""
    registry = CollectorRegistry()
    registry.register(FleetCollector(recorder))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (each.name, tuple(sorted(each.labels.items()))): each.value for family in families for each in family.samples
    }


@pytest.fixture
def recorder():
    return Recorder(lambda: 5.0)


def test_devices_are_a_gauge_by_state(recorder):
    recorder.moved(None, DeviceState.CONNECTED)
    metrics = scrape(recorder)
    assert metrics["hublet_fleet_devices", (("state", "connected"),)] == 1
    assert metrics["hublet_fleet_devices", (("state", "failed"),)] == 0


def test_failures_messages_and_reconnects_are_counters(recorder):
    recorder.failed("ConnectionRefused 5", Phase.HUB_CONNACK)
    recorder.message("telemetry", 0.01)
    recorder.message("c2d")
    recorder.moved(None, DeviceState.CONNECTED)
    recorder.moved(DeviceState.CONNECTED, DeviceState.RECONNECTING)
    metrics = scrape(recorder)
    labels = (("phase", "hub_connack"), ("reason", "ConnectionRefused 5"))
    assert metrics["hublet_fleet_errors_total", labels] == 1
    assert metrics["hublet_fleet_messages_total", (("kind", "telemetry"),)] == 1
    assert metrics["hublet_fleet_messages_total", (("kind", "c2d"),)] == 1
    assert metrics["hublet_fleet_reconnects_total", ()] == 1


def test_latencies_are_cumulative_histograms(recorder):
    for seconds in (0.004, 0.03, 0.03, 400.0):
        recorder.phase(Phase.REGISTER, seconds)
    metrics = scrape(recorder)

    def bucket(bound: str) -> float:
        return metrics["hublet_fleet_phase_seconds_bucket", (("le", bound), ("phase", "register"))]

    assert [bucket(each) for each in ("0.0025", "0.005", "0.025", "0.05", "300.0", "+Inf")] == [0, 1, 1, 3, 3, 4]
    assert metrics["hublet_fleet_phase_seconds_count", (("phase", "register"),)] == 4
    assert metrics["hublet_fleet_phase_seconds_sum", (("phase", "register"),)] == pytest.approx(400.064, rel=1e-3)


def test_totals_and_messages_have_histograms_of_their_own(recorder):
    recorder.total("onboarding", 0.5)
    recorder.message("telemetry", 0.002)
    metrics = scrape(recorder)
    assert metrics["hublet_fleet_total_seconds_count", (("total", "onboarding"),)] == 1
    assert metrics["hublet_fleet_message_seconds_count", (("kind", "telemetry"),)] == 1


def test_messages_that_nobody_answers_have_no_histogram(recorder):
    recorder.message("c2d")
    assert ("hublet_fleet_message_seconds_count", (("kind", "c2d"),)) not in scrape(recorder)


def test_a_reason_may_hold_any_text(recorder):
    recorder.failed('odd "reason"\\ in\ntwo lines')
    assert (
        scrape(recorder)["hublet_fleet_errors_total", (("phase", ""), ("reason", 'odd "reason"\\ in\ntwo lines'))] == 1
    )


def test_bounds_rise():
    assert list(BOUNDS) == sorted(set(BOUNDS))
