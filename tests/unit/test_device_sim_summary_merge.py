from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from device_sim.phases import Phase
from device_sim.recorder import DeviceState, Recorder
from device_sim.summary import ErrorCount, Summary, Verdict
from device_sim.summary_merge import merge_summaries
from device_sim.timeline import Moment

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def worker(late_by: float = 0.0, onboard_at: float = 0.5, seconds: float = 0.25) -> Summary:
    """Run one device that is onboarded at some time after the worker's start, for three seconds."""
    time = [0.0]
    recorder = Recorder(lambda: time[0], now=lambda: NOW + timedelta(seconds=late_by))
    recorder.moved(None, DeviceState.WAITING)
    time[0] = onboard_at
    recorder.moved(DeviceState.WAITING, DeviceState.CONNECTED)
    recorder.phase(Phase.REGISTER, seconds)
    recorder.total("onboarding", seconds)
    recorder.message("telemetry")
    recorder.failed("ConnectionLost", Phase.HUB_TLS)
    time[0] = 2.5
    return recorder.summary("devices: 2\n", {"hublet": "0.1.0"})


def in_seconds(summary: Summary, count: Callable[[Moment], int]) -> list[int]:
    """Add up what is counted in the moments of each second."""
    seconds = [0] * (int(summary.timeline[-1].start) + 1)
    for moment in summary.timeline:
        seconds[int(moment.start)] += count(moment)
    return seconds


def test_counts_and_histograms_add_up():
    merged = merge_summaries([worker(seconds=0.25), worker(seconds=0.5)]).snapshot
    assert merged.states["connected"] == 2
    assert merged.totals["onboarding"].times == 2
    assert merged.phases["register"].histogram.minimum == pytest.approx(0.25, rel=1e-3)
    assert merged.phases["register"].histogram.maximum == pytest.approx(0.5, rel=1e-3)
    assert merged.messages["telemetry"].times == 2
    assert merged.errors == (ErrorCount("ConnectionLost", "hub_tls", 2),)


def test_workers_that_began_later_are_moved_on_the_time_line():
    merged = merge_summaries([worker(), worker(late_by=2.0)])
    assert in_seconds(merged, lambda moment: moment.messages.get("telemetry", 0)) == [1, 0, 1, 0, 0]
    assert merged.snapshot.elapsed_seconds == 4.5
    assert merged.snapshot.totals["onboarding"].last == 2.5
    assert merged.started_at == NOW


def test_devices_of_a_worker_that_ended_stay_in_their_states():
    merged = merge_summaries([worker(), worker(late_by=2.0)])
    ends = [moment.states.get("connected", 0) for moment in merged.timeline if moment.start % 1 == 0.75]
    assert ends == [1, 1, 2, 2]
    assert merged.timeline[-1].states["connected"] == 2


def test_the_widest_moments_win():
    wide = worker()
    timeline = tuple(replace(each, start=2.0 * number) for number, each in enumerate(wide.timeline[:4]))
    merged = merge_summaries([worker(), replace(wide, moment_seconds=2.0, timeline=timeline)])
    assert merged.moment_seconds == 2.0
    assert [moment.start for moment in merged.timeline] == [0.0, 2.0, 4.0, 6.0]
    assert [moment.errors.get("ConnectionLost", 0) for moment in merged.timeline] == [1, 0, 1, 0]
    assert merged.timeline[0].latencies["total.onboarding"].count == 1


def test_what_only_one_worker_measured_is_there():
    other = worker()
    other = replace(other, snapshot=replace(other.snapshot, totals={}))
    assert merge_summaries([other, worker()]).snapshot.totals["onboarding"].times == 1


def test_verdicts_of_parts_are_not_those_of_the_whole():
    judged = replace(worker(), verdicts=(Verdict("errors == 0", "1", passed=False),))
    assert merge_summaries([judged, judged]).verdicts == ()


def test_a_single_worker_is_the_whole():
    assert merge_summaries([worker()]) == worker()


def test_no_summary_is_refused():
    with pytest.raises(ValueError, match="no summary"):
        merge_summaries([])
