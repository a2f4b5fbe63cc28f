import contextlib

from hypothesis import given
from hypothesis import strategies as st

from device_sim.histogram import (
    HIGHEST_BUCKET,
    Histogram,
    bucket_of_microseconds,
    format_histogram,
    lower_edge,
    parse_histogram,
    upper_edge,
)

histograms = st.builds(
    Histogram,
    st.dictionaries(st.integers(0, HIGHEST_BUCKET), st.integers(1, 1_000_000), max_size=30),
)


@given(histograms)
def test_parse_of_format_is_the_histogram(histogram):
    assert parse_histogram(format_histogram(histogram)) == histogram


@given(st.text())
def test_any_text_is_a_histogram_or_a_value_error(text):
    with contextlib.suppress(ValueError):
        parse_histogram(text)


@given(histograms, st.data())
def test_any_damage_is_a_histogram_or_a_value_error(histogram, data):
    text = format_histogram(histogram)
    at = data.draw(st.integers(0, len(text) - 1))
    with contextlib.suppress(ValueError):
        parse_histogram(text[:at] + data.draw(st.sampled_from("AZaz09+/=")) + text[at + 1 :])


@given(st.integers(0, 3_600_000_000))
def test_a_bucket_holds_what_is_put_into_it_within_a_thousandth(microseconds):
    bucket = bucket_of_microseconds(microseconds)
    assert lower_edge(bucket) <= microseconds <= upper_edge(bucket)
    assert upper_edge(bucket) - lower_edge(bucket) <= microseconds / 1000


@given(histograms, histograms)
def test_merging_is_commutative_and_counts_everything(one, other):
    assert one.merged(other) == other.merged(one)
    assert one.merged(other).count == one.count + other.count


@given(histograms, st.lists(st.floats(0, 1), min_size=1).map(sorted))
def test_quantiles_rise(histogram, fractions):
    quantiles = list(histogram.quantiles(fractions))
    assert quantiles == sorted(quantiles) == [histogram.quantile(fraction) for fraction in fractions]
