from datetime import timedelta

import pytest

from adr.errors import ValidityOutOfRange
from adr.policy import check_leaf_validity

DAY = timedelta(days=1)


@pytest.mark.parametrize("validity", [7 * DAY, 30 * DAY, 90 * DAY])
def test_whole_days_from_7_to_90_are_accepted(validity: timedelta) -> None:
    assert check_leaf_validity(validity, allow_short=False) == validity
    assert check_leaf_validity(validity, allow_short=True) == validity


@pytest.mark.parametrize("validity", [-30 * DAY, 0 * DAY, 6 * DAY, 91 * DAY, 7.5 * DAY, timedelta(minutes=1)])
def test_anything_else_is_refused_with_value_and_rule(validity: timedelta) -> None:
    with pytest.raises(ValidityOutOfRange) as refusal:
        check_leaf_validity(validity, allow_short=False)
    assert str(refusal.value) == f"leaf validity {validity} is not allowed: 7 to 90 whole days"


@pytest.mark.parametrize("validity", [timedelta(minutes=1), 0.1 * DAY, 89.5 * DAY])
def test_fractions_from_a_minute_on_are_accepted_in_test_mode(validity: timedelta) -> None:
    assert check_leaf_validity(validity, allow_short=True) == validity


@pytest.mark.parametrize("validity", [timedelta(seconds=59), timedelta(), -DAY, 90 * DAY + timedelta(seconds=1)])
def test_test_mode_has_limits_too(validity: timedelta) -> None:
    with pytest.raises(ValidityOutOfRange, match="a minute to 90 days"):
        check_leaf_validity(validity, allow_short=True)
