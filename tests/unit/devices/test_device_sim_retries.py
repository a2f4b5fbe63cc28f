import pytest

from device_sim.retries import retry_wait
from device_sim.scenario import Retry

RETRY = Retry(attempts=None, initial_seconds=1, max_seconds=60, jitter=0.5)


def test_waits_double_up_to_the_longest() -> None:
    assert [retry_wait(RETRY, attempt, 0) for attempt in (1, 2, 3, 6, 7, 8, 5000)] == [1, 2, 4, 32, 60, 60, 60]


def test_jitter_shortens_by_up_to_its_part() -> None:
    assert [retry_wait(RETRY, 3, at) for at in (0, 0.5, 1)] == [4, 3, 2]


@pytest.mark.parametrize(("at", "seconds"), [(0, 16), (0.5, 20), (1, 24)])
def test_wait_that_the_service_asks_for_is_lengthened_by_the_jitter(at: float, seconds: float) -> None:
    assert retry_wait(RETRY, 1, at, 16) == seconds


def test_longer_backoff_outlasts_what_the_service_asks_for() -> None:
    assert retry_wait(RETRY, 6, 0, 17) == 32


def test_last_attempt_is_followed_by_none() -> None:
    retry = Retry(attempts=3)
    assert retry_wait(retry, 2, 0) is not None
    assert retry_wait(retry, 3, 0) is None
    assert retry_wait(retry, 3, 0, 17) is None
