from typing import Any

import pytest

from device_sim.behaviour import Decisions, moved
from device_sim.scenario import Scenario
from device_sim.scenario_behaviour import Reconnect, Renewal


def decisions(behaviour: dict[str, Any] | None = None, **more: Any) -> Decisions:
    return Decisions.of(Scenario.model_validate({"behaviour": behaviour or {}, **more}))


TOGETHER = {"timing": "together"}


@pytest.mark.parametrize(
    ("behaviour", "more"),
    [
        ({"telemetry": {"messages_per_second": 1}}, {}),
        ({"twin_reports_per_minute": 1}, {}),
        ({"answer_methods": True}, {}),
        ({"receive_c2d": True}, {}),
        ({"renewal": {"every_seconds": 5}}, {}),
        ({}, {"duration_seconds": 5}),
        ({}, {"stop_when": ["errors > 1"]}),
    ],
)
def test_what_never_ends_by_itself(behaviour: dict[str, Any], more: dict[str, Any]) -> None:
    assert decisions(behaviour, **more).is_open_ended


@pytest.mark.parametrize(
    "behaviour",
    [{}, {"telemetry": {"messages": 3}}, {"renewal": {}}, {"reconnect": {}}],
)
def test_what_ends_by_itself(behaviour: dict[str, Any]) -> None:
    assert not decisions(behaviour).is_open_ended


def test_share_of_the_devices_reconnects_and_always_the_same() -> None:
    some = decisions({"reconnect": {"share": 0.3}})
    hit = [device for device in range(1000) if some.reconnects(device) is not None]
    assert len(hit) == pytest.approx(300, abs=60)
    assert hit == [device for device in range(1000) if some.reconnects(device) is not None]


@pytest.mark.parametrize(("share", "expected"), [(0, 0), (1, 50)])
def test_none_or_all_reconnect(share: float, expected: int) -> None:
    some = decisions({"reconnect": {"share": share}})
    assert sum(some.reconnects(device) is not None for device in range(50)) == expected


def test_reconnects_follow_after_the_first_at_their_interval_and_end() -> None:
    pattern = Reconnect(after_seconds=5, every_seconds=20, times=3)
    assert [decisions().reconnect_delay(pattern, 0, number) for number in range(5)] == [5, 20, 20, None, None]


def test_reconnects_without_a_number_of_times_never_end() -> None:
    pattern = Reconnect(after_seconds=5, every_seconds=20, times=None)
    assert decisions().reconnect_delay(pattern, 0, 10_000) == 20


def test_jitter_moves_each_devices_moment_but_never_the_fleets() -> None:
    each = Reconnect(after_seconds=100, jitter=0.2)
    together = Reconnect.model_validate({**TOGETHER, "after_seconds": 100, "jitter": 0.2})
    delays = {decisions().reconnect_delay(each, device, 0) for device in range(20)}
    assert len(delays) == 20
    assert all(delay is not None and 80 <= delay <= 120 for delay in delays)
    assert {decisions().reconnect_delay(together, device, 0) for device in range(20)} == {100}


def test_moved_reaches_both_ends() -> None:
    assert [moved(10, 0.2, at) for at in (0, 0.5, 1)] == pytest.approx([8, 10, 12])


@pytest.mark.parametrize(
    ("renewal", "expected"),
    [
        ({}, [900, None]),
        ({"after_seconds": 7}, [7, None]),
        ({"every_seconds": 60}, [900, 60]),
        (TOGETHER, [0, None]),
        ({**TOGETHER, "after_seconds": 7, "every_seconds": 60}, [7, 60]),
    ],
)
def test_renewals_come_when_the_scenario_says(renewal: dict[str, Any], expected: list[float | None]) -> None:
    some = Renewal.model_validate(renewal)
    assert [decisions().renewal_delay(some, 0, number, 900) for number in range(2)] == expected


def test_renewal_that_is_overdue_comes_at_once() -> None:
    assert decisions().renewal_delay(Renewal(), 0, 0, -50) == 0


def test_devices_at_a_rate_begin_spread_over_the_interval() -> None:
    some = decisions({"telemetry": {"messages_per_second": 0.1}, "think_times": {"before_telemetry_seconds": 3}})
    pauses = [some.pause_before_telemetry(device, 0) for device in range(200)]
    assert all(3 <= pause < 13 for pause in pauses)
    assert max(pauses) - min(pauses) > 8


def test_think_times_lie_in_their_span() -> None:
    some = decisions({"think_times": {"before_connect_seconds": [2, 4]}, "twin_reports_per_minute": 6})
    assert all(2 <= some.pause_before_connect(device) <= 4 for device in range(50))
    assert all(0 <= some.pause_before_report(device, 0) <= 10 for device in range(50))
    pattern = Reconnect(offline_seconds=(1, 2))
    assert all(1 <= some.offline_seconds(pattern, device, 0) <= 2 for device in range(50))


def test_devices_do_not_try_again_in_step() -> None:
    waits = {decisions().retry_delay(device, 4, 4) for device in range(50)}
    assert len(waits) == 50
