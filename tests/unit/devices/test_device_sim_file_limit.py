import resource
from typing import Any

import pytest

from device_sim.file_limit import TooManyDevices, raise_file_limit


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give the process these limits; what it sets them to is in the list."""
    given: list[tuple[int, int]] = []

    def make(soft: int, hard: int) -> list[tuple[int, int]]:
        monkeypatch.setattr(resource, "getrlimit", lambda _which: (soft, hard))
        monkeypatch.setattr(resource, "setrlimit", lambda _which, limits: given.append(limits))
        return given

    return make


def test_limit_that_is_high_enough_stays(limits: Any) -> None:
    given = limits(1024, 20_000)
    raise_file_limit(900)
    assert given == []


def test_soft_limit_is_raised_to_the_hard_one(limits: Any) -> None:
    given = limits(1024, 20_000)
    raise_file_limit(10_000)
    assert given == [(20_000, 20_000)]


def test_endless_limits_are_used_as_needed(limits: Any) -> None:
    given = limits(1024, resource.RLIM_INFINITY)
    raise_file_limit(10_000)
    assert given == [(10_464, resource.RLIM_INFINITY)]
    limits(resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    raise_file_limit(1_000_000)
    assert len(given) == 1


def test_more_devices_than_the_system_allows_are_refused_with_the_limit(limits: Any) -> None:
    limits(1024, 20_000)
    with pytest.raises(
        TooManyDevices, match=r"19,500 devices need 20,344 open files.*20,000 \(ulimit -Hn\): at most 19,169"
    ):
        raise_file_limit(19_500)
    raise_file_limit(19_169)
