from datetime import UTC, datetime

import pytest

from device_sim.phases import Phase
from device_sim.recorder import MAX_REASONS, OTHER_REASONS, DeviceState, Recorder, name_of
from device_sim.summary import ErrorCount

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def hands():
    return Hands()


@pytest.fixture
def recorder(hands):
    return Recorder(hands, now=lambda: NOW)


def test_devices_are_counted_by_state(recorder):
    recorder.moved(None, DeviceState.WAITING)
    recorder.moved(None, DeviceState.WAITING)
    recorder.moved(DeviceState.WAITING, DeviceState.PROVISIONING)
    states = recorder.snapshot().states
    assert {state: count for state, count in states.items() if count} == {"waiting": 1, "provisioning": 1}


def test_states_are_listed_though_no_device_is_in_them(recorder):
    assert list(recorder.snapshot().states) == [state.value for state in DeviceState]


def test_each_way_back_counts_as_one_reconnect(recorder):
    recorder.moved(None, DeviceState.CONNECTED)
    recorder.moved(DeviceState.CONNECTED, DeviceState.RECONNECTING)
    recorder.moved(DeviceState.RECONNECTING, DeviceState.RECONNECTING)
    recorder.moved(DeviceState.RECONNECTING, DeviceState.CONNECTED)
    assert recorder.snapshot().reconnects == 1


def test_phases_are_measured_by_name_with_their_label(recorder):
    recorder.phase(Phase.REGISTER, 0.5)
    (measured,) = recorder.snapshot().phases.values()
    assert list(recorder.snapshot().phases) == [name_of(Phase.REGISTER)] == ["register"]
    assert measured.label == Phase.REGISTER.value
    assert measured.histogram.quantile(0.5) == pytest.approx(0.5, rel=1e-3)


def test_totals_are_measured_by_name(recorder):
    recorder.total("onboarding", 2.0)
    recorder.total("onboarding", 4.0)
    assert recorder.snapshot().totals["onboarding"].histogram.maximum == pytest.approx(4.0, rel=1e-3)


def test_rate_counts_from_the_first_intended_start_to_the_last_end(recorder, hands):
    hands.seconds += 10
    recorder.total("onboarding", 2.0)
    hands.seconds += 2
    recorder.total("onboarding", 1.0)
    assert recorder.snapshot().rate("onboarded") == pytest.approx(2 / 4)


def test_a_start_before_the_run_counts_as_its_beginning(recorder, hands):
    hands.seconds += 1
    recorder.total("onboarding", 60.0)
    assert recorder.snapshot().totals["onboarding"].first == 0.0


def test_rate_of_a_single_instant_is_none_at_all(recorder):
    recorder.message("c2d")
    assert recorder.snapshot().rate("c2d") == 0.0


def test_messages_without_an_answer_are_counted_only(recorder):
    recorder.message("c2d")
    recorder.message("telemetry", 0.01)
    snapshot = recorder.snapshot()
    assert (snapshot.messages["c2d"].times, snapshot.latency("c2d")) == (1, None)
    assert (snapshot.messages["telemetry"].times, snapshot.latency("telemetry").count) == (1, 1)


def test_messages_are_on_the_timeline(recorder):
    recorder.message("c2d")
    recorder.message("telemetry", 0.01)
    recorder.message("telemetry", 0.01)
    (moment,) = recorder.summary().timeline
    assert moment.messages == {"c2d": 1, "telemetry": 2}
    assert list(moment.latencies) == ["message.telemetry"]


def test_failures_are_counted_by_reason_and_phase(recorder):
    recorder.failed("ConnectionRefused 5", Phase.HUB_CONNACK)
    recorder.failed("ConnectionRefused 5", Phase.HUB_CONNACK)
    recorder.failed("ConnectionRefused 5")
    assert recorder.snapshot().errors == (
        ErrorCount("ConnectionRefused 5", "hub_connack", 2),
        ErrorCount("ConnectionRefused 5", "", 1),
    )
    assert recorder.snapshot().error_count == 3


def test_reasons_beyond_the_limit_count_together(recorder):
    for number in range(MAX_REASONS + 5):
        recorder.failed(f"reason {number}", Phase.REGISTER)
    recorder.failed("reason 0", Phase.REGISTER)
    errors = recorder.snapshot().errors
    assert len(errors) == MAX_REASONS + 1
    assert errors[0].count == 2
    assert errors[-1] == ErrorCount(OTHER_REASONS, "", 5)
    assert sum(recorder.summary().timeline[0].errors.values()) == MAX_REASONS + 6


def test_a_total_and_a_phase_of_one_name_stay_apart_on_the_timeline(recorder):
    recorder.total("renewal", 2.0)
    recorder.phase(Phase.RENEWAL, 1.0)
    (moment,) = recorder.summary().timeline
    assert set(moment.latencies) == {"total.renewal", "phase.renewal"}


def test_states_that_changed_in_the_next_second_are_not_in_the_one_before(recorder, hands):
    recorder.moved(None, DeviceState.WAITING)
    hands.seconds += 0.3
    recorder.moved(DeviceState.WAITING, DeviceState.CONNECTED)
    assert [moment.states["connected"] for moment in recorder.summary().timeline] == [0, 1]


def test_an_unchanged_series_gives_the_same_value_again(recorder):
    recorder.phase(Phase.REGISTER, 0.5)
    one = recorder.snapshot().phases["register"].histogram
    assert recorder.snapshot().phases["register"].histogram is one
    recorder.phase(Phase.REGISTER, 0.5)
    assert one.count == 1
    assert recorder.snapshot().phases["register"].histogram.count == 2


def test_summary_says_what_ran_when_and_on_what(recorder, hands):
    hands.seconds += 0.6
    summary = recorder.summary("devices: 1\n", {"hublet": "0.1.0"})
    assert (summary.scenario_text, summary.versions, summary.started_at) == ("devices: 1\n", {"hublet": "0.1.0"}, NOW)
    assert summary.snapshot.elapsed_seconds == pytest.approx(0.6)
    assert summary.moment_seconds == 0.25
    assert [moment.start for moment in summary.timeline] == [0.0, 0.25, 0.5]
    assert set(summary.machine) == {"system", "architecture", "cores", "python"}


def test_what_never_happened_has_no_rate_and_no_latency(recorder):
    assert recorder.snapshot().rate("onboarded") is None
    assert recorder.snapshot().latency("register") is None
