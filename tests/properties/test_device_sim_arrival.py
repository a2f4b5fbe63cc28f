from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from device_sim.arrival import Arrival, AtOnce, ConstantRate, Ramp, Waves

RATES = st.floats(0.001, 10_000)
SECONDS = st.floats(0.001, 10_000)
ARRIVALS = st.one_of(
    st.just(AtOnce()),
    st.builds(lambda rate: ConstantRate(kind="rate", per_second=rate), RATES),
    st.builds(
        lambda first, last, seconds: Ramp(kind="ramp", from_per_second=first, to_per_second=last, seconds=seconds),
        st.one_of(st.just(0.0), RATES),
        RATES,
        SECONDS,
    ),
    st.builds(lambda size, every: Waves(kind="waves", size=size, every_seconds=every), st.integers(1, 50), SECONDS),
)


@given(ARRIVALS, st.integers(0, 300))
def test_every_device_has_a_moment_and_they_are_in_order(arrival: Arrival, devices: int) -> None:
    moments = list(arrival.offsets(devices))
    assert len(moments) == devices
    assert moments[:1] in ([], [0.0])
    assert all(earlier <= later + 1e-9 * later for earlier, later in pairwise(moments))


@given(st.one_of(st.just(0.0), RATES), RATES, SECONDS, st.integers(1, 300))
def test_ramp_has_sent_as_many_devices_as_its_rates_add_up_to(
    first: float, last: float, seconds: float, devices: int
) -> None:
    ramp = Ramp(kind="ramp", from_per_second=first, to_per_second=last, seconds=seconds)
    *_, moment = ramp.offsets(devices)
    climbing = min(moment, seconds)
    reached = first + (last - first) * climbing / seconds
    sent = (first + reached) / 2 * climbing + max(moment - seconds, 0) * last
    assert abs(sent - (devices - 1)) <= 1e-6 * max(devices, first * seconds, last * seconds)
