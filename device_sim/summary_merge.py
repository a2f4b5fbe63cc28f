"""One summary out of those of several workers that ran parts of one fleet at the same time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import reduce

from device_sim.summary import ErrorCount, Measured, Snapshot, Summary
from device_sim.timeline import Moment, added


def merge_summaries(summaries: Sequence[Summary]) -> Summary:
    """Put the runs of workers on one time line, by the time of day at which each began.

    Scenario, versions and machine are the first worker's; there are no verdicts: they are for the whole.

    Raises:
        ValueError: there is no summary.
    """
    if not summaries:
        raise ValueError("no summary to merge")
    first = summaries[0]
    began = min(each.started_at for each in summaries)
    width = max(each.moment_seconds for each in summaries)
    return Summary(
        snapshot=_merge_snapshots([(_offset(each, began), each.snapshot) for each in summaries]),
        started_at=began,
        moment_seconds=width,
        timeline=_merge_timelines([_placed(each, began, width) for each in summaries], width),
        scenario_text=first.scenario_text,
        versions=first.versions,
        machine=first.machine,
    )


def _offset(summary: Summary, began: datetime) -> float:
    return (summary.started_at - began).total_seconds()


def _merge_snapshots(parts: Sequence[tuple[float, Snapshot]]) -> Snapshot:
    errors: Counter[tuple[str, str]] = Counter()
    for _, snapshot in parts:
        for each in snapshot.errors:
            errors[each.reason, each.phase] += each.count
    return Snapshot(
        elapsed_seconds=max(offset + snapshot.elapsed_seconds for offset, snapshot in parts),
        states=reduce(added, (snapshot.states for _, snapshot in parts)),
        reconnects=sum(snapshot.reconnects for _, snapshot in parts),
        phases=_merge_series([(offset, snapshot.phases) for offset, snapshot in parts]),
        totals=_merge_series([(offset, snapshot.totals) for offset, snapshot in parts]),
        messages=_merge_series([(offset, snapshot.messages) for offset, snapshot in parts]),
        errors=tuple(ErrorCount(*error, count) for error, count in errors.items()),
    )


def _merge_series(parts: Sequence[tuple[float, Mapping[str, Measured]]]) -> dict[str, Measured]:
    merged: dict[str, Measured] = {}
    for offset, series in parts:
        for name, each in series.items():
            moved = Measured(each.label, each.histogram, each.times, offset + each.first, offset + each.last)
            merged[name] = _merge_measured(merged[name], moved) if name in merged else moved
    return merged


def _merge_measured(one: Measured, other: Measured) -> Measured:
    return Measured(
        one.label,
        one.histogram.merged(other.histogram),
        one.times + other.times,
        min(one.first, other.first),
        max(one.last, other.last),
    )


def _placed(summary: Summary, began: datetime, width: float) -> dict[int, Moment]:
    """Number a worker's moments on the common time line, those that fall together as one."""
    offset = _offset(summary, began)
    placed: dict[int, Moment] = {}
    for moment in summary.timeline:
        number = int((offset + moment.start) / width)
        placed[number] = placed[number].joined(moment, moment.states) if number in placed else moment
    return placed


def _merge_timelines(workers: Sequence[Mapping[int, Moment]], width: float) -> tuple[Moment, ...]:
    end = max((max(worker, default=-1) for worker in workers), default=-1) + 1
    filled = [_filled(worker, end) for worker in workers]
    return tuple(
        reduce(lambda one, other: one.joined(other, added(one.states, other.states)), moments, Moment(number * width))
        for number, moments in enumerate(zip(*filled, strict=True))
    )


def _filled(worker: Mapping[int, Moment], end: int) -> list[Moment]:
    """Give a worker's moments without a gap: its devices stay in the states in which it last saw them."""
    moments = [Moment(0.0)]
    for number in range(end):
        moments.append(worker.get(number) or Moment(0.0, states=moments[-1].states))
    return moments[1:]
