"""How many connections one process may hold."""

import resource

# What a process has open beside its devices: standard streams, the loop's own, log files, a report.
OTHER_FILES = 64
# A device may begin its next connection while the one before is still closing.
CLOSING_SHARE = 0.04


class TooManyDevices(Exception):
    """More devices than the system lets one process connect."""


def raise_file_limit(devices: int) -> None:
    """Let this process open as many files as so many connected devices need.

    Raises:
        TooManyDevices: the system's hard limit is lower.
    """
    needed = devices + int(devices * CLOSING_SHARE) + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return
    if hard != resource.RLIM_INFINITY and needed > hard:
        most = int((hard - OTHER_FILES) / (1 + CLOSING_SHARE))
        raise TooManyDevices(
            f"{devices:,} devices need {needed:,} open files, this process may have {hard:,} (ulimit -Hn): "
            f"at most {max(most, 0):,} devices; raise the limit, or divide the fleet among processes"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed if hard == resource.RLIM_INFINITY else hard, hard))
