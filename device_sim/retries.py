"""How long a device waits before it tries again."""

from device_sim.scenario import Retry


def retry_wait(retry: Retry, attempt: int, at: float, retry_after_seconds: float = 0) -> float | None:
    """Give the seconds before the next attempt; None when there is none.

    Args:
        retry: the scenario's policy.
        attempt: how many attempts in a row have failed, from 1 on.
        at: a fraction from 0 to 1 that chooses within the jitter.
        retry_after_seconds: what the service asked for; never shortened, but lengthened by up to the part `jitter`, as
            devices that were told the same must not come at the same moment.
    """
    if retry.attempts is not None and attempt >= retry.attempts:
        return None
    longest = min(retry.initial_seconds * 2.0 ** min(attempt - 1, 60), retry.max_seconds)
    return max(longest * (1 - retry.jitter * at), retry_after_seconds * (1 + retry.jitter * at))
