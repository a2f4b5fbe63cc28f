"""A fleet divided among processes: every device is in one part, and the parts come when the whole would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_sim.arrival import AtOnce, ConstantRate, Ramp, Waves
from device_sim.fleet_part import FleetPart, fingerprint
from device_sim.scenario import Scenario

ARRIVALS = [
    AtOnce(),
    ConstantRate(kind="rate", per_second=7),
    Ramp(kind="ramp", to_per_second=9, seconds=3),
    Waves(kind="waves", size=4, every_seconds=2),
]


@given(devices=st.integers(1, 500), workers=st.integers(1, 20))
def test_every_device_is_in_one_part(devices: int, workers: int) -> None:
    parts = [FleetPart(index, workers) for index in range(workers)]
    numbers = [part.first_device(devices) + number for part in parts for number in range(part.devices(devices))]
    assert numbers == list(range(devices))
    sizes = [part.devices(devices) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("arrival", ARRIVALS, ids=lambda each: each.kind)
@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_parts_together_arrive_as_the_whole(arrival: object, workers: int) -> None:
    whole = Scenario(devices=23, arrival=arrival)
    moments: list[float] = []
    for index in range(workers):
        part = FleetPart(index, workers).scenario(whole)
        own = list(part.arrival.offsets(part.devices))
        assert len(own) == part.devices
        moments += own
    assert sorted(moments) == list(whole.arrival.offsets(23))


def test_concurrency_is_divided_and_never_nothing() -> None:
    whole = Scenario(devices=10, concurrency=5)
    assert [FleetPart(index, 2).scenario(whole).concurrency for index in range(2)] == [3, 2]
    assert FleetPart(9, 10).scenario(whole).concurrency == 1
    assert FleetPart(0, 2).scenario(Scenario(devices=10)).concurrency is None


def test_what_is_held_against_the_whole_is_not_in_a_part() -> None:
    condition = ("errors > 10",)
    part = FleetPart(0, 2).scenario(Scenario(devices=10, stop_when=condition, thresholds=condition))
    assert part.stop_when == part.thresholds == ()


def test_fingerprint_tells_fleets_apart_but_not_machines() -> None:
    one = Scenario(devices=10)
    other_machine = Scenario(devices=10, description="there", thresholds=("errors == 0",))
    assert fingerprint(one) == fingerprint(other_machine)
    assert fingerprint(one) != fingerprint(Scenario(devices=11))
    assert fingerprint(one) != fingerprint(Scenario(devices=10, seed=2))
