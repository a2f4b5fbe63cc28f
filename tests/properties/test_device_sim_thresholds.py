from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from device_sim.summary import Snapshot
from device_sim.thresholds import ThresholdError, count_names, latency_names, parse_threshold, rate_names

SUBJECTS = st.one_of(
    st.builds(
        "{}.{}".format, st.sampled_from(["p0", "p50", "p99", "p99.9", "min", "max"]), st.sampled_from(latency_names())
    ),
    st.builds("rate.{}".format, st.sampled_from(rate_names())),
    st.sampled_from(count_names()),
)
RELATIONS = st.sampled_from(["<", "<=", "==", "!=", ">=", ">"])
LIMITS = st.integers(0, 10**12 - 1)


@given(st.text(max_size=60))
def test_any_text_is_a_threshold_or_refused(text: str) -> None:
    with suppress(ThresholdError):
        parse_threshold(text).check(Snapshot())


@given(SUBJECTS, RELATIONS, LIMITS)
def test_what_is_written_is_read_again(subject: str, relation: str, limit: int) -> None:
    threshold = parse_threshold(f"{subject} {relation} {limit}")
    assert (threshold.relation, threshold.limit) == (relation, limit)
    assert parse_threshold(str(threshold)) == threshold


@given(SUBJECTS, RELATIONS, st.integers(0, 99))
def test_every_truncated_threshold_is_refused_or_has_another_limit(subject: str, relation: str, limit: int) -> None:
    text = f"{subject} {relation} {limit}"
    for end in range(len(text)):
        with suppress(ThresholdError):
            assert parse_threshold(text[:end]).text != text
