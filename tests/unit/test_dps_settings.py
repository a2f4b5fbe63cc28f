"""What a DPS is configured with."""

from datetime import timedelta

import pytest

from dps.settings import DpsSettings


def test_operations_must_outlive_their_assigning() -> None:
    minute = timedelta(minutes=1)
    with pytest.raises(ValueError, match="operation_lifetime 0:01:00 of DPS dps1 is not longer"):
        DpsSettings("dps1", "0ne0", assigning_delay=minute, operation_lifetime=minute)
    assert DpsSettings("dps1", "0ne0", assigning_delay=minute).retry_after_seconds == 3
