"""Which hub a device is allocated to."""

from collections import Counter

import pytest

from dps.allocation import CHOOSERS, AllocationPolicy, choose_hub
from dps.errors import NoHubAvailable

HUBS = [f"hub{number}.example" for number in range(1, 5)]
DEVICES = [f"sensor-{number:03}" for number in range(400)]


def test_hashed_allocation_spreads_devices_over_the_hubs() -> None:
    counts = Counter(choose_hub(AllocationPolicy.HASHED, HUBS, device) for device in DEVICES)
    assert set(counts) == set(HUBS)
    assert min(counts.values()) > 60


def test_hashed_allocation_is_stable_and_case_insensitive() -> None:
    for device in DEVICES[:20]:
        chosen = choose_hub(AllocationPolicy.HASHED, HUBS, device)
        assert choose_hub(AllocationPolicy.HASHED, list(reversed(HUBS)), device.upper()) == chosen


def test_new_hub_moves_only_the_devices_it_gets() -> None:
    for device in DEVICES:
        before = choose_hub(AllocationPolicy.HASHED, HUBS, device)
        after = choose_hub(AllocationPolicy.HASHED, [*HUBS, "hub9.example"], device)
        assert after in (before, "hub9.example")


def test_latency_is_equal_for_all_hubs_of_one_machine() -> None:
    for device in DEVICES[:20]:
        hashed = choose_hub(AllocationPolicy.HASHED, HUBS, device)
        assert choose_hub(AllocationPolicy.GEO_LATENCY, HUBS, device) == hashed


def test_static_allocation_takes_the_named_hub() -> None:
    assert {choose_hub(AllocationPolicy.STATIC, HUBS[2:3], device) for device in DEVICES[:20]} == {HUBS[2]}


@pytest.mark.parametrize("policy", CHOOSERS)
def test_no_hub_is_an_error(policy: AllocationPolicy) -> None:
    with pytest.raises(NoHubAvailable, match="no linked IoT hub"):
        choose_hub(policy, [], "sensor-001")


def test_custom_allocation_is_not_offered() -> None:
    with pytest.raises(NoHubAvailable, match="custom is not offered"):
        choose_hub(AllocationPolicy.CUSTOM, HUBS, "sensor-001")
