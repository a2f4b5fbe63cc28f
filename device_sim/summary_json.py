"""A summary as JSON, for machines that judge a run and for workers that send theirs to be put together.

Version 1: `schema`, `startedAt`, `elapsedSeconds`, `devices` (by state), `reconnects`, then `totals`, `phases` and
`messages` by name, each with `label`, `count`, `perSecond`, `firstSecond`, `lastSecond` and `seconds` (quantiles, and
the whole histogram as HdrHistogram encodes it, in microseconds); `errors`, `errorCount`, `thresholds`, `stoppedBy`
(the condition that ended the run, or empty), `scenario` (YAML), `versions`, `machine`, and `timeline` with moments of
`momentSeconds`. New members may come; those here stay.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from device_sim.histogram import Histogram, format_histogram, parse_histogram
from device_sim.summary import ErrorCount, Measured, Snapshot, Summary, Verdict
from device_sim.timeline import Moment

SCHEMA: Final = "hublet.fleet/1"
QUANTILES: Final[Mapping[str, float]] = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}


def format_summary(summary: Summary) -> str:
    """Write a summary as one JSON text."""
    return json.dumps(summary_members(summary), ensure_ascii=False)


def parse_summary(text: str | bytes) -> Summary:
    """Read what `format_summary` wrote.

    Raises:
        ValueError: not such a text, or of another version.
    """
    members = json.loads(text)
    if not isinstance(members, dict) or members.get("schema") != SCHEMA:
        raise ValueError(f"not a summary of a fleet: its schema is not {SCHEMA}")
    try:
        return _summary(members)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"not a summary of a fleet: {error!r}") from error


def summary_members(summary: Summary) -> dict[str, Any]:
    """Give the members of the JSON object."""
    snapshot = summary.snapshot
    return {
        "schema": SCHEMA,
        "startedAt": summary.started_at.isoformat(),
        "elapsedSeconds": snapshot.elapsed_seconds,
        "devices": dict(snapshot.states),
        "reconnects": snapshot.reconnects,
        "totals": _measured_members(snapshot.totals),
        "phases": _measured_members(snapshot.phases),
        "messages": _measured_members(snapshot.messages),
        "errorCount": snapshot.error_count,
        "errors": [{"reason": each.reason, "phase": each.phase, "count": each.count} for each in snapshot.errors],
        "thresholds": [
            {"threshold": each.threshold, "observed": each.observed, "passed": each.passed} for each in summary.verdicts
        ],
        "stoppedBy": summary.stopped_by,
        "scenario": summary.scenario_text,
        "versions": dict(summary.versions),
        "machine": dict(summary.machine),
        "momentSeconds": summary.moment_seconds,
        "timeline": [_moment_members(moment) for moment in summary.timeline],
    }


def _measured_members(series: Mapping[str, Measured]) -> dict[str, Any]:
    return {
        name: {
            "label": each.label,
            "count": each.times,
            "perSecond": round(each.rate, 3),
            "firstSecond": each.first,
            "lastSecond": each.last,
            "seconds": _histogram_members(each.histogram) if each.histogram.count else None,
        }
        for name, each in series.items()
    }


def _histogram_members(histogram: Histogram) -> dict[str, Any]:
    return {
        "min": histogram.minimum,
        "mean": round(histogram.mean, 6),
        **dict(zip(QUANTILES, histogram.quantiles(QUANTILES.values()), strict=True)),
        "max": histogram.maximum,
        "histogram": format_histogram(histogram),
    }


def _moment_members(moment: Moment) -> dict[str, Any]:
    return {
        "startSeconds": moment.start,
        "devices": dict(moment.states),
        "messages": dict(moment.messages),
        "errors": dict(moment.errors),
        "seconds": {name: _coarse_members(each) for name, each in moment.latencies.items()},
    }


def _coarse_members(histogram: Histogram) -> dict[str, Any]:
    p50, p95, p99 = histogram.quantiles((0.5, 0.95, 0.99))
    counts = " ".join(f"{bucket}={count}" for bucket, count in sorted(histogram.counts.items()))
    return {"count": histogram.count, "p50": p50, "p95": p95, "p99": p99, "buckets": counts}


def _summary(members: Mapping[str, Any]) -> Summary:
    snapshot = Snapshot(
        elapsed_seconds=float(members["elapsedSeconds"]),
        states=dict(members["devices"]),
        reconnects=int(members["reconnects"]),
        phases=_measured(members["phases"]),
        totals=_measured(members["totals"]),
        messages=_measured(members["messages"]),
        errors=tuple(ErrorCount(each["reason"], each["phase"], each["count"]) for each in members["errors"]),
    )
    return Summary(
        snapshot=snapshot,
        started_at=datetime.fromisoformat(members["startedAt"]),
        moment_seconds=float(members["momentSeconds"]),
        timeline=tuple(_moment(each) for each in members["timeline"]),
        scenario_text=members["scenario"],
        versions=dict(members["versions"]),
        machine=dict(members["machine"]),
        verdicts=tuple(Verdict(each["threshold"], each["observed"], each["passed"]) for each in members["thresholds"]),
        stopped_by=members.get("stoppedBy", ""),
    )


def _measured(series: Mapping[str, Any]) -> dict[str, Measured]:
    return {
        name: Measured(
            each["label"],
            parse_histogram(each["seconds"]["histogram"]) if each["seconds"] is not None else Histogram(),
            each["count"],
            each["firstSecond"],
            each["lastSecond"],
        )
        for name, each in series.items()
    }


def _moment(members: Mapping[str, Any]) -> Moment:
    return Moment(
        start=float(members["startSeconds"]),
        latencies={name: _coarse(each["buckets"]) for name, each in members["seconds"].items()},
        messages=dict(members["messages"]),
        errors=dict(members["errors"]),
        states=dict(members["devices"]),
    )


def _coarse(text: str) -> Histogram:
    pairs = (each.partition("=") for each in text.split())
    return Histogram({int(bucket): int(count) for bucket, _, count in pairs})
