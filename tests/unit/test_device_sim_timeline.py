import pytest

from device_sim.histogram import bucket_of
from device_sim.timeline import Timeline, coarse


def took(timeline: Timeline, elapsed: float, seconds: float, name: str = "total.onboarding") -> None:
    timeline.at(elapsed).took(name, coarse(bucket_of(seconds)))


def test_events_are_counted_in_the_second_in_which_they_came():
    timeline = Timeline({})
    took(timeline, 0.2, 0.1)
    took(timeline, 0.9, 0.1)
    took(timeline, 1.0, 0.1)
    first, second = timeline.moments(1.5)
    assert (first.start, first.latencies["total.onboarding"].count) == (0.0, 2)
    assert (second.start, second.latencies["total.onboarding"].count) == (1.0, 1)


def test_latencies_of_a_moment_are_within_three_percent():
    timeline = Timeline({})
    for seconds in (0.0021, 0.05, 0.7, 9.0):
        took(timeline, 0.0, seconds, str(seconds))
    (moment,) = timeline.moments(0.5)
    for seconds in (0.0021, 0.05, 0.7, 9.0):
        assert moment.latencies[str(seconds)].maximum == pytest.approx(seconds, rel=0.032)


def test_seconds_without_events_are_there_and_keep_the_states():
    states = {"connected": 1}
    timeline = Timeline(states)
    timeline.at(0.5)
    moments = timeline.moments(3.5)
    assert [moment.start for moment in moments] == [0.0, 1.0, 2.0, 3.0]
    assert all(moment.states == {"connected": 1} for moment in moments)


def test_a_moment_keeps_the_states_at_its_end():
    states = {"connected": 1}
    timeline = Timeline(states)
    timeline.at(1.1)
    states["connected"] = 5
    assert [moment.states["connected"] for moment in timeline.moments(1.5)] == [1, 5]


def test_a_long_run_gets_wider_moments_and_loses_nothing():
    timeline = Timeline({}, most=4)
    for second in range(37):
        took(timeline, second + 0.5, 0.1)
        moment = timeline.at(second + 0.5)
        moment.messages["telemetry"] = moment.messages.get("telemetry", 0) + 1
        moment.errors["ConnectionLost"] = moment.errors.get("ConnectionLost", 0) + 1
    moments = timeline.moments(37.0)
    assert timeline.seconds == 16.0
    assert [moment.start for moment in moments] == [0.0, 16.0, 32.0]
    assert [moment.latencies["total.onboarding"].count for moment in moments] == [16, 16, 5]
    assert [moment.messages["telemetry"] for moment in moments] == [16, 16, 5]
    assert [moment.errors["ConnectionLost"] for moment in moments] == [16, 16, 5]


def test_a_widened_moment_has_the_states_of_its_end():
    states = {"connected": 0}
    timeline = Timeline(states, most=2)
    for second in range(3):
        timeline.at(second + 0.5)
        states["connected"] = second
    assert [moment.states["connected"] for moment in timeline.moments(2.9)] == [1, 2]


def test_a_closed_moment_takes_no_more_memory_than_its_counts():
    timeline = Timeline({})
    took(timeline, 0.5, 0.1)
    took(timeline, 1.5, 0.1)
    (closed,) = timeline._closed
    assert closed.latencies == {}
    assert closed.packed["total.onboarding"].tolist() == [coarse(bucket_of(0.1)), 1]
