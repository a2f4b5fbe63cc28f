import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from device_sim.phases import Phase
from device_sim.recorder import DeviceState, Recorder
from device_sim.report.axis import Axis, axis_of
from device_sim.report.figures import curve_figure, error_figure, latency_figures, rate_figures, state_figure
from device_sim.report.page import format_page
from device_sim.report.writer import ReportUnavailable, require_report, write_report
from device_sim.summary import Summary, Verdict
from device_sim.summary_json import parse_summary
from device_sim.timeline import Moment

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def run(seconds: float = 3.1, failures: int = 1, reason: str = "ConnectionRefused 5") -> Summary:
    """A device that is onboarded in the first second and sends a message every half second."""
    clock = [0.0]
    recorder = Recorder(lambda: clock[0], now=lambda: NOW)
    recorder.moved(None, DeviceState.WAITING)
    clock[0] = 0.6
    recorder.moved(DeviceState.WAITING, DeviceState.CONNECTED)
    recorder.phase(Phase.REGISTER, 0.125)
    recorder.total("onboarding", 0.5)
    for number in range(failures):
        recorder.failed(reason.format(number=number), Phase.HUB_CONNACK)
    while clock[0] + 0.5 < seconds:
        clock[0] += 0.5
        recorder.message("telemetry", 0.01)
    clock[0] = seconds
    return recorder.summary("name: small\ndevices: 1\n", {"hublet": "0.1.0"})


class Page(HTMLParser):
    """What a reader gets: ids, text outside of scripts, and every address that the page names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.texts: list[str] = []
        self.addresses: list[str] = []
        self.figures: list[dict[str, object]] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self._inside = attributes.get("id", tag) if tag == "script" else tag
        if "id" in attributes:
            self.ids.add(attributes["id"])
        self.addresses += [value for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data):
        if self._inside == "figures":
            self.figures = json.loads(data)
        elif self._inside not in {"script", "style"}:
            self.texts.append(data.strip())

    def handle_endtag(self, tag):
        self._inside = ""


@pytest.fixture(scope="module")
def page() -> Page:
    verdicts = (Verdict("errors == 0", "1", passed=False), Verdict("p99.onboarding < 8 s", "500 ms", passed=True))
    return Page(format_page(replace(run(), verdicts=verdicts)))


def test_page_needs_no_other_file(page):
    assert page.addresses == []


def test_every_plot_has_its_place(page):
    keys = {figure["key"] for figure in page.figures}
    assert keys == {
        "curve", "errors", "states", "rate-onboarded", "rate-messages",
        "latency-total.onboarding", "latency-phase.register", "latency-message.telemetry",
    }  # fmt: skip
    assert keys <= page.ids


def test_every_colour_of_a_plot_is_in_both_themes(page):
    colours = set(re.findall(r'"@(\w+)"', json.dumps(page.figures)))
    from importlib.resources import files

    script = (files("device_sim.report") / "page.js").read_text()
    light, dark = re.findall(r"(?:light|dark): \{(.*?)\n    \}", script, re.DOTALL)
    assert colours <= set(re.findall(r"(\w+): \"#", light)) & set(re.findall(r"(\w+): \"#", dark))
    assert {state.value for state in DeviceState} <= set(re.findall(r"(\w+): \"#", light))


def test_page_says_what_ran_and_how_it_went(page):
    text = "\n".join(page.texts)
    for expected in ("small", "✗ 1 of 2 thresholds missed", "errors == 0", "devices: 1", "hublet", "0.1.0", "register"):
        assert expected in text
    assert "2026-03-01 12:00:00 UTC" in text


def test_page_of_met_thresholds_says_so():
    met = replace(run(), verdicts=(Verdict("errors == 1", "1", passed=True),))
    assert "✓ all thresholds met" in format_page(met)


def test_page_of_a_run_in_which_nothing_happened():
    recorder = Recorder(lambda: 0.0, now=lambda: NOW)
    page = Page(format_page(recorder.summary()))
    assert [figure["key"] for figure in page.figures] == ["states"]
    assert "Nothing was measured." in page.texts
    assert "None." in page.texts


def test_hostile_text_stays_text():
    hostile = "</script><script>alert(1)</script><img src=x>"
    summary = replace(run(reason=hostile), scenario_text=f"name: {hostile}\n")
    page = Page(format_page(summary))
    assert page.addresses == []
    assert "alert(1)" not in "".join(page.texts).replace(hostile, "")
    assert any(hostile in text for text in page.texts)


def test_report_is_written_with_its_numbers(tmp_path):
    summary = run()
    page = write_report(summary, tmp_path / "new" / "directory")
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert parse_summary((page.parent / "summary.json").read_text()) == summary


def test_report_without_its_packages_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "device_sim.report.page", None)
    with pytest.raises(ReportUnavailable, match=r"pip install 'hublet\[report\]'"):
        require_report()


# --- axis ---


def test_a_long_run_is_shown_in_at_most_so_many_moments():
    summary = run(60.0)
    axis = axis_of(summary, most=50)
    assert len(summary.timeline) == 241
    assert len(axis.moments) == 31
    assert axis.moment_seconds == 2.0
    assert sum(each.messages.get("telemetry", 0) for each in axis.moments) == 118


@pytest.mark.parametrize(("seconds", "unit"), [(10.0, "s"), (600.0, "min"), (4 * 3600.0, "h")])
def test_the_unit_of_the_axis_fits_the_run(seconds, unit):
    summary = run()
    summary = replace(summary, snapshot=replace(summary.snapshot, elapsed_seconds=seconds))
    assert axis_of(summary).unit == unit


# --- figures ---


def test_rates_are_per_second_whatever_the_width_of_a_moment():
    summary = run(60.0)
    _, messages = rate_figures(summary, axis_of(summary, most=50))
    (trace,) = messages.traces
    assert trace["y"][5:25] == [2.0] * 20


@pytest.mark.parametrize(("elapsed", "rates"), [(3.0, [8, 0, 8]), (2.75, [8, 0, 32 / 3]), (2.25, [8, 8 / 1.25])])
def test_a_moment_that_was_cut_short_has_its_own_rate_or_counts_with_the_one_before(elapsed, rates):
    axis = Axis((Moment(0.0), Moment(1.0), Moment(2.0)), 1.0, elapsed, "s", 1)
    times, per_second = axis.per_second([8, 0, 8])
    assert per_second == pytest.approx(rates)
    assert times[:1] == [0.5]
    assert times[-1] < elapsed


def test_a_run_of_no_time_has_no_rate():
    assert Axis((Moment(0.0),), 1.0, 0.0, "s", 1).per_second([1]) == ([0.0], [0.0])
    assert Axis((), 1.0, 0.0, "s", 1).per_second([]) == ([], [])


def test_states_are_drawn_from_the_start_to_the_end():
    summary = run(3.1)
    traces = {trace["name"]: trace for trace in state_figure(summary, axis_of(summary)).traces}
    assert set(traces) == {"waiting", "connected"}
    assert traces["connected"]["x"][0] == 0.0
    assert traces["connected"]["x"][-1] == 3.1
    assert traces["connected"]["y"][-1] == 1


def test_latency_is_drawn_where_something_was_measured():
    summary = run()
    figures = {figure.title: figure for figure in latency_figures(summary, axis_of(summary))}
    register = figures[Phase.REGISTER.value]
    assert [trace["name"] for trace in register.traces] == ["p99", "p95", "p50"]
    assert register.traces[0]["x"] == [0.625]
    assert register.traces[0]["y"] == [pytest.approx(0.125, rel=0.03)]


def test_rare_reasons_are_drawn_as_one():
    summary = run(failures=20, reason="reason {number}")
    figure = error_figure(summary, axis_of(summary))
    assert len(figure.traces) == 8
    assert figure.traces[-1]["name"] == "13 other reasons"
    assert sum(sum(trace["y"]) for trace in figure.traces) * summary.moment_seconds == pytest.approx(20)


def test_curve_ends_at_the_longest_of_all():
    clock = [0.0]
    recorder = Recorder(lambda: clock[0], now=lambda: NOW)
    for number in range(1, 1001):
        recorder.total("onboarding", number / 1000)
    (trace,) = curve_figure(recorder.summary()).traces
    assert trace["y"][-1] == pytest.approx(1.0, rel=1e-3)
    assert trace["x"][-1] == pytest.approx(2000, rel=1e-3)
    assert len(trace["x"]) <= 402


def test_a_single_measurement_is_a_point_of_the_curve():
    (trace, *_) = curve_figure(run()).traces
    assert trace["mode"] == "markers"


def test_page_of_a_scenario_without_a_name_tells_of_reconnects():
    clock = [0.0]
    recorder = Recorder(lambda: clock[0], now=lambda: NOW)
    recorder.moved(None, DeviceState.CONNECTED)
    recorder.moved(DeviceState.CONNECTED, DeviceState.RECONNECTING)
    page = Page(format_page(recorder.summary("devices: 1\n")))
    assert "fleet" in page.texts
    assert "reconnects" in page.texts
