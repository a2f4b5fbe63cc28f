from itertools import pairwise
from typing import Any

import pytest
from pydantic import TypeAdapter

from device_sim.arrival import Arrival

ARRIVAL: TypeAdapter[Arrival] = TypeAdapter(Arrival)


def offsets(arrival: dict[str, Any], devices: int) -> list[float]:
    return list(ARRIVAL.validate_python(arrival).offsets(devices))


def test_all_at_once_means_the_start_for_each() -> None:
    assert offsets({"kind": "at-once"}, 3) == [0, 0, 0]


def test_constant_rate_spaces_devices_evenly() -> None:
    assert offsets({"kind": "rate", "per_second": 4}, 4) == [0, 0.25, 0.5, 0.75]


def test_waves_come_together_at_an_interval() -> None:
    assert offsets({"kind": "waves", "size": 2, "every_seconds": 5}, 5) == [0, 0, 5, 5, 10]


def test_ramp_reaches_the_rate_it_rises_to() -> None:
    moments = offsets({"kind": "ramp", "to_per_second": 10, "seconds": 10}, 71)
    # 50 devices fit under the ramp, the next 20 come at its rate.
    assert moments[0] == 0
    assert moments[50] == pytest.approx(10)
    assert moments[70] == pytest.approx(12)
    assert moments[49] == pytest.approx((2 * 49 / 1) ** 0.5)


def test_ramp_may_fall() -> None:
    moments = offsets({"kind": "ramp", "from_per_second": 10, "to_per_second": 1, "seconds": 10}, 57)
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    assert moments[55] == pytest.approx(10, abs=0.1)
    assert gaps == sorted(gaps)
    assert gaps[0] == pytest.approx(0.1, rel=0.05)
    assert gaps[-1] == pytest.approx(1, rel=0.1)


def test_ramp_between_equal_rates_is_a_constant_rate() -> None:
    moments = offsets({"kind": "ramp", "from_per_second": 2, "to_per_second": 2, "seconds": 3}, 10)
    assert moments == pytest.approx([number / 2 for number in range(10)])


@pytest.mark.parametrize(
    "arrival",
    [
        {"kind": "at-once"},
        {"kind": "rate", "per_second": 3},
        {"kind": "ramp", "to_per_second": 3, "seconds": 4},
        {"kind": "waves", "size": 3, "every_seconds": 1},
    ],
    ids=lambda arrival: str(arrival["kind"]),
)
def test_no_devices_have_no_moments(arrival: dict[str, Any]) -> None:
    assert offsets(arrival, 0) == []
