import pytest

from device_sim.histogram import Histogram, bucket_of
from device_sim.phases import Phase
from device_sim.summary import ErrorCount, Measured, Snapshot
from device_sim.thresholds import (
    CountOf,
    LatencyOf,
    RateOf,
    Statistic,
    Subject,
    ThresholdError,
    check_thresholds,
    count_names,
    latency_names,
    parse_threshold,
    rate_names,
)


def measured(*seconds: float, first: float = 0, last: float = 10) -> Measured:
    counts: dict[int, int] = {}
    for each in seconds:
        counts[bucket_of(each)] = counts.get(bucket_of(each), 0) + 1
    return Measured("label", Histogram(counts), len(seconds), first, last)


RUN = Snapshot(
    elapsed_seconds=20,
    states={"connected": 3, "failed": 1, "waiting": 0},
    phases={"dps_tls": measured(0.010, 0.020, 0.030, 0.100)},
    reconnects=7,
    totals={"registration": measured(1, 2, 3, 4), "onboarding": measured(2, 3, 4, 5, last=8)},
    messages={"telemetry": measured(0.5, 0.5)},
    errors=(ErrorCount("ConnectionLost", "hub_tls", 2), ErrorCount("ProvisioningError 429001", "", 1)),
)


@pytest.mark.parametrize(
    ("text", "subject", "limit"),
    [
        ("p99.registration < 8 s", LatencyOf("registration", 0.99), 8),
        ("p99.9.hub_tls<=250ms", LatencyOf("hub_tls", 0.999), 0.25),
        ("p50.telemetry < 1.5", LatencyOf("telemetry", 0.5), 1.5),
        ("max.renewal <= 2 min", LatencyOf("renewal", Statistic.MAX), 120),
        ("min.onboarding > 0 s", LatencyOf("onboarding", Statistic.MIN), 0),
        ("mean.register < 1 s", LatencyOf("register", Statistic.MEAN), 1),
        ("errors == 0", CountOf("errors"), 0),
        ("  onboarded  >=  1000  ", CountOf("onboarded"), 1000),
        ("rate.onboarded >= 50 /s", RateOf("onboarded"), 50),
        ("rate.telemetry != 120 /min", RateOf("telemetry"), 2),
    ],
)
def test_threshold_is_read(text: str, subject: Subject, limit: float) -> None:
    threshold = parse_threshold(text)
    assert threshold.subject == subject
    assert threshold.limit == pytest.approx(limit)
    assert str(threshold) == text.strip()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be such as"),
        ("errors", "must be such as"),
        ("errors = 0", "must be such as"),
        ("errors == none", "must be such as"),
        ("errors == -1", "must be such as"),
        ("errors == 0 s", "'s' is no unit of errors (there is: none)"),
        ("p99.registration < 8 h", "'h' is no unit of p99.registration (there is: s, ms, min)"),
        ("rate.onboarded > 8 ms", "'ms' is no unit of rate.onboarded (there is: /s, /min)"),
        ("p99.registation < 8 s", "did you mean 'registration'?"),
        ("p100.registration < 8 s", "is not measured"),
        ("p99 < 8 s", "'p99' is not measured"),
        ("rate.errors < 8", "'errors' is not measured"),
        ("max.errors < 8", "'errors' is not measured"),
        ("erors == 0", "did you mean 'errors'?"),
    ],
)
def test_text_that_is_no_threshold_is_refused_with_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(ThresholdError) as refused:
        parse_threshold(text)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("text", "passed", "observed"),
    [
        ("p75.registration <= 3.01 s", True, "3.00 s"),
        ("p99.registration < 4 s", False, "4.00 s"),
        ("max.dps_tls < 101 ms", True, "100 ms"),
        ("min.dps_tls > 11 ms", False, "10.0 ms"),
        ("mean.dps_tls < 50 ms", True, "40.0 ms"),
        ("p50.telemetry == 0 s", False, "500 ms"),
        ("rate.onboarded >= 0.5 /s", True, "0.5 /s"),
        ("rate.registered >= 0.5 /s", False, "0.4 /s"),
        ("errors == 3", True, "3"),
        ("errors != 3", False, "3"),
        ("devices == 4", True, "4"),
        ("failed < 1", False, "1"),
        ("reconnects == 7", True, "7"),
        ("finished == 0", True, "0"),
        ("onboarded == 4", True, "4"),
        ("telemetry > 2", False, "2"),
    ],
)
def test_threshold_is_compared_with_what_was_measured(text: str, passed: bool, observed: str) -> None:
    (verdict,) = check_thresholds([parse_threshold(text)], RUN)
    assert (verdict.threshold, verdict.passed, verdict.observed) == (text, passed, observed)


@pytest.mark.parametrize("text", ["p99.renewal < 8 s", "rate.renewed < 8 /s", "max.twin != 1 s"])
def test_what_was_not_measured_meets_no_threshold(text: str) -> None:
    verdict = parse_threshold(text).check(RUN)
    assert (verdict.observed, verdict.passed) == ("not measured", False)


def test_what_never_happened_is_counted_as_none() -> None:
    assert parse_threshold("renewed == 0").holds(RUN)


def test_every_name_can_be_used() -> None:
    texts = [f"p9.{name} < 1 s" for name in latency_names()]
    texts += [f"rate.{name} < 1" for name in rate_names()]
    texts += [f"{name} < 1" for name in count_names()]
    for text in texts:
        assert parse_threshold(text).text == text
    assert {phase.name.lower() for phase in Phase} <= set(latency_names())
