import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from device_sim.timer_wheel import TIMERS_PER_TURN, Timer, TimerWheel


def test_timers_are_called_at_their_moments_in_order(run: Any) -> None:
    async def scenario() -> list[tuple[str, float]]:
        wheel, calls = TimerWheel(), []
        for name, seconds in (("late", 2.0), ("soon", 0.25), ("long", 86_400.0), ("now", 0.0)):
            wheel.schedule(seconds, lambda name=name: calls.append((name, wheel.now())))
        await asyncio.sleep(90_000)
        return calls

    calls = run(scenario())[0]
    assert [name for name, _ in calls] == ["now", "soon", "late", "long"]
    assert [moment for _, moment in calls] == pytest.approx([0, 0.25, 2, 86_400], abs=0.0011)


def test_timer_is_never_early(run: Any) -> None:
    async def scenario() -> float:
        wheel = TimerWheel()
        called: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        await asyncio.sleep(0.0004)
        wheel.schedule_at(0.0101, lambda: called.set_result(wheel.now()))
        return await called

    assert 0.0101 <= run(scenario())[0] < 0.0121


def test_timers_of_one_moment_keep_their_order(run: Any) -> None:
    async def scenario() -> list[int]:
        wheel, calls = TimerWheel(), []
        for number in range(5):
            wheel.schedule_at(1.0, calls.append, number)
        await asyncio.sleep(2)
        return calls

    assert run(scenario())[0] == [0, 1, 2, 3, 4]


def test_earlier_timer_takes_the_place_of_a_later_one(run: Any) -> None:
    async def scenario() -> list[str]:
        wheel, calls = TimerWheel(), []
        wheel.schedule(10, calls.append, "later")
        await asyncio.sleep(1)
        wheel.schedule(1, calls.append, "earlier")
        await asyncio.sleep(2)
        return calls

    assert run(scenario())[0] == ["earlier"]


def test_cancelled_timer_is_not_called_and_lets_go(run: Any) -> None:
    async def scenario() -> tuple[list[int], Timer, Timer]:
        wheel, calls = TimerWheel(), []
        cancelled, kept = wheel.schedule(1, calls.append, 1), wheel.schedule(1, calls.append, 2)
        cancelled.cancel()
        assert not cancelled.is_due
        assert kept.is_due
        await asyncio.sleep(2)
        cancelled.cancel()
        return calls, cancelled, kept

    calls, cancelled, kept = run(scenario())[0]
    assert calls == [2]
    assert not kept.is_due
    assert cancelled._arguments == ()


def test_moment_that_has_passed_counts_as_now(run: Any) -> None:
    async def scenario() -> float:
        wheel = TimerWheel()
        await asyncio.sleep(5)
        called: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        wheel.schedule_at(1.0, lambda: called.set_result(wheel.now()))
        return await called

    assert run(scenario())[0] == pytest.approx(5, abs=0.002)


def test_callback_may_schedule_more_for_the_same_moment(run: Any) -> None:
    async def scenario() -> list[str]:
        wheel, calls = TimerWheel(), []

        def first() -> None:
            calls.append("first")
            wheel.schedule(0, calls.append, "second")

        wheel.schedule(1, first)
        await asyncio.sleep(1.1)
        return calls

    assert run(scenario())[0] == ["first", "second"]


def test_many_timers_of_one_moment_take_turns_with_the_loop(run: Any) -> None:
    async def scenario() -> int:
        wheel, calls = TimerWheel(), []
        seen: list[int] = []

        def look() -> None:
            seen.append(len(calls))
            if len(calls) < TIMERS_PER_TURN * 3:
                asyncio.get_running_loop().call_soon(look)

        wheel.schedule_at(1.0, lambda: asyncio.get_running_loop().call_soon(look))
        for number in range(TIMERS_PER_TURN * 3):
            wheel.schedule_at(1.0, calls.append, number)
        await asyncio.sleep(2)
        assert calls == sorted(calls)
        return max(after - before for before, after in zip([0, *seen], seen, strict=False))

    assert run(scenario())[0] == TIMERS_PER_TURN


def test_callback_that_fails_does_not_silence_the_others(run: Any) -> None:
    async def scenario() -> tuple[list[str], list[str]]:
        wheel, calls, errors = TimerWheel(), [], []
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: errors.append(str(context["exception"]))
        )

        def fail() -> None:
            raise RuntimeError("a defect")

        for callback in (lambda: calls.append("before"), fail, lambda: calls.append("after")):
            wheel.schedule_at(1.0, callback)
        wheel.schedule_at(2.0, calls.append, "later")
        await asyncio.sleep(3)
        return calls, errors

    assert run(scenario())[0] == (["before", "after", "later"], ["a defect"])


def test_closed_wheel_forgets_and_may_be_used_again(run: Any) -> None:
    async def scenario() -> list[str]:
        wheel, calls = TimerWheel(), []
        wheel.close()
        wheel.schedule(1, calls.append, "forgotten")
        wheel.close()
        wheel.schedule(2, calls.append, "new")
        await asyncio.sleep(3)
        return calls

    assert run(scenario())[0] == ["new"]


def test_loop_sees_one_timer_whatever_is_scheduled(run: Any) -> None:
    async def scenario() -> int:
        wheel, loop = TimerWheel(), asyncio.get_running_loop()
        handles: list[asyncio.Handle] = []
        call_at: Callable[..., Any] = loop.call_at
        loop.call_at = lambda *arguments: handles.append(call_at(*arguments)) or handles[-1]  # type: ignore[method-assign]
        for number in range(1000):
            wheel.schedule(10 + number, print)
        return sum(not handle.cancelled() for handle in handles)

    assert run(scenario())[0] == 1


def test_limit_ends_what_takes_too_long(run: Any) -> None:
    async def scenario() -> float:
        wheel = TimerWheel()
        with pytest.raises(TimeoutError), wheel.limit(5):
            await asyncio.sleep(100)
        # The task lives on, and is not taken for a cancelled one.
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        return wheel.now()

    assert run(scenario())[0] == pytest.approx(5, abs=0.0011)


def test_limit_that_is_kept_does_not_strike_later(run: Any) -> None:
    async def scenario() -> str:
        with TimerWheel().limit(5):
            await asyncio.sleep(1)
        await asyncio.sleep(100)
        return "through"

    assert run(scenario())[0] == "through"


def test_limit_passes_on_what_went_wrong_inside(run: Any) -> None:
    async def scenario() -> None:
        with pytest.raises(ConnectionError), TimerWheel().limit(5):
            raise ConnectionError

    run(scenario())


def test_limit_passes_on_a_cancellation_from_outside(run: Any) -> None:
    async def scenario() -> None:
        async def wait() -> None:
            with TimerWheel().limit(5):
                await asyncio.sleep(100)

        task = asyncio.ensure_future(wait())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(scenario())


def test_inner_of_two_limits_strikes_alone(run: Any) -> None:
    async def scenario() -> str:
        wheel = TimerWheel()
        with wheel.limit(50):
            with pytest.raises(TimeoutError), wheel.limit(5):
                await asyncio.sleep(100)
            await asyncio.sleep(1)
        return "through"

    assert run(scenario())[0] == "through"
