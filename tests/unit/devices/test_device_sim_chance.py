import pytest

from device_sim.chance import between, fraction


def test_decision_is_the_same_for_one_seed() -> None:
    assert fraction(7, "offline", 12, 3) == fraction(7, "offline", 12, 3)


@pytest.mark.parametrize(
    "other", [(8, "offline", 12, 3), (7, "retry", 12, 3), (7, "offline", 13, 3), (7, "offline", 12, 4)]
)
def test_seed_purpose_device_and_occasion_decide(other: tuple[int, str, int, int]) -> None:
    assert fraction(*other) != fraction(7, "offline", 12, 3)


def test_decisions_are_spread_evenly() -> None:
    values = [fraction(1, "x", device) for device in range(4000)]
    assert all(0 <= value < 1 for value in values)
    for tenth in range(10):
        assert sum(tenth / 10 <= value < (tenth + 1) / 10 for value in values) == pytest.approx(400, abs=90)


def test_between_reaches_both_ends() -> None:
    assert [between((2, 6), at) for at in (0, 0.25, 1)] == [2, 3, 6]
