"""Work that is spread over processes of our own."""

import os
import signal
import subprocess
import sys
import time

import pytest

from device_sim.processes import chunks, work_through


def square(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def test_long_work_is_done_by_other_processes_in_order() -> None:
    """Results come in the order of the tasks, whichever process was faster."""
    results = list(work_through(square, range(20), seconds=60))
    assert [result for result, _ in results] == [number * number for number in range(20)]
    if (os.cpu_count() or 1) > 1:
        assert os.getpid() not in {process for _, process in results}


def test_short_work_needs_no_process() -> None:
    """A process costs half a second: small fleets do without."""
    assert {process for _, process in work_through(square, range(5), seconds=0.1)} == {os.getpid()}


def test_work_that_nobody_waits_for_ends() -> None:
    """Ctrl-C while keys are made closes the generator: what has not begun is not done."""
    results = work_through(square, range(10_000), seconds=60)
    assert next(results)[0] == 0
    results.close()


ENDLESS_WORK = """
import time
from device_sim.processes import work_through

if __name__ == "__main__":
    try:
        for _ in work_through(time.sleep, [1.0] * 1000, seconds=60):
            print("one more", flush=True)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
"""


@pytest.mark.skipif((os.cpu_count() or 1) == 1, reason="one core starts no processes")
def test_repeated_interrupts_leave_nobody_waiting() -> None:
    """Whoever presses Ctrl-C twice, or stops a whole process group, gets the prompt back."""
    with subprocess.Popen([sys.executable, "-c", ENDLESS_WORK], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
            time.sleep(0.1)  # into the wait for the pieces under way
            process.send_signal(signal.SIGINT)
            assert process.wait(15) == 130
        finally:
            process.kill()


def test_pieces_are_small_enough_to_stop_between_them() -> None:
    """A piece takes a quarter of a second, and is never empty."""
    assert chunks(0, 1) == []
    assert chunks(3, 1) == [range(1), range(1, 2), range(2, 3)]
    assert chunks(7, 0.1) == [range(2), range(2, 4), range(4, 6), range(6, 7)]
