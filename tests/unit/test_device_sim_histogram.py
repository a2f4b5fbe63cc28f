import random

import pytest
from hdrh.histogram import HdrHistogram

from device_sim.histogram import (
    HIGHEST_MICROSECONDS,
    Histogram,
    bucket_of,
    bucket_of_microseconds,
    format_histogram,
    lower_edge,
    parse_histogram,
    upper_edge,
)


def histogram_of(*seconds: float) -> Histogram:
    counts: dict[int, int] = {}
    for each in seconds:
        counts[bucket_of(each)] = counts.get(bucket_of(each), 0) + 1
    return Histogram(counts)


def test_buckets_are_those_of_hdr_histogram():
    reference = HdrHistogram(1, HIGHEST_MICROSECONDS, 3)
    numbers = random.Random(7)
    spread = [int(10 ** numbers.uniform(0, 9.55)) for _ in range(2_000)]
    for microseconds in [0, 1, 2047, 2048, 2049, 4095, 4096, HIGHEST_MICROSECONDS, *spread]:
        bucket = bucket_of_microseconds(microseconds)
        assert bucket == reference._counts_index_for(microseconds)
        assert lower_edge(bucket) == reference.get_lowest_equivalent_value(microseconds)
        assert upper_edge(bucket) == reference.get_highest_equivalent_value(microseconds)


def test_negative_durations_count_as_none():
    assert bucket_of(-0.5) == bucket_of(0.0) == 0


def test_durations_over_an_hour_count_as_an_hour():
    assert bucket_of(7_200.0) == bucket_of(3_600.0)


def test_quantile_is_the_nearest_rank_with_three_digits():
    histogram = histogram_of(*(number / 100 for number in range(1, 101)))
    for percent in (1, 7, 50, 95, 99, 100):
        assert histogram.quantile(percent / 100) == pytest.approx(percent / 100, rel=1e-3)


def test_quantile_0_is_the_shortest():
    assert histogram_of(1.0, 2.0).quantile(0) == pytest.approx(1.0, rel=1e-3)


def test_quantiles_are_those_of_hdr_histogram():
    numbers = random.Random(3)
    seconds = [numbers.lognormvariate(-2, 1) for _ in range(1_000)]
    reference = HdrHistogram(1, HIGHEST_MICROSECONDS, 3)
    for each in seconds:
        reference.record_value(int(each * 1e6))
    histogram = histogram_of(*seconds)
    # One thousand values: the ranks of these fractions are whole numbers, about which all definitions agree.
    for percent in (50, 90, 95, 99, 99.9, 100):
        assert histogram.quantile(percent / 100) * 1e6 == pytest.approx(reference.get_value_at_percentile(percent))


def test_mean_minimum_and_maximum_have_three_digits():
    histogram = histogram_of(0.5, 1.0, 4.5)
    assert histogram.count == 3
    assert histogram.mean == pytest.approx(2.0, rel=1e-3)
    assert histogram.minimum == pytest.approx(0.5, rel=1e-3)
    assert histogram.maximum == pytest.approx(4.5, rel=1e-3)


def test_nothing_measured_is_zero_everywhere():
    empty = Histogram()
    assert (empty.count, empty.mean, empty.minimum, empty.maximum) == (0, 0.0, 0.0, 0.0)
    assert list(empty.quantiles((0.5, 0.99))) == [0.0, 0.0]
    assert empty.percentile_curve() == ()


def test_percentile_curve_rises_to_one_at_the_longest():
    curve = histogram_of(1.0, 1.0, 2.0, 3.0).percentile_curve()
    assert [fraction for fraction, _ in curve] == [0.5, 0.75, 1.0]
    assert curve[-1][1] == histogram_of(3.0).maximum


def test_merged_counts_both():
    assert histogram_of(1.0, 2.0).merged(histogram_of(2.0)) == histogram_of(1.0, 2.0, 2.0)


def test_encoded_histogram_is_read_by_hdr_histogram():
    histogram = histogram_of(0.001, 0.5, 0.5, 3_599.0)
    reference = HdrHistogram.decode(format_histogram(histogram))
    assert reference.get_total_count() == 4
    assert reference.get_value_at_percentile(50) / 1e6 == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("text", ["", "abc", "AAAA" * 10, "é", format_histogram(histogram_of(1.0))[:40]])
def test_what_is_no_encoded_histogram_is_refused(text):
    with pytest.raises(ValueError, match="not an encoded HDR histogram"):
        parse_histogram(text)


def test_histogram_of_another_precision_is_refused():
    other = HdrHistogram(1, HIGHEST_MICROSECONDS, 2)
    other.record_value(1_000)
    with pytest.raises(ValueError, match="with three digits"):
        parse_histogram(other.encode().decode())
