import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from device_sim.phases import Phase
from device_sim.recorder import DeviceState, Recorder
from device_sim.summary import Summary, Verdict
from device_sim.summary_json import SCHEMA, format_summary, parse_summary

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def summary() -> Summary:
    recorder = Recorder(lambda: 5.0, now=lambda: NOW)
    recorder.moved(None, DeviceState.CONNECTED)
    recorder.phase(Phase.REGISTER, 0.125)
    recorder.total("onboarding", 0.5)
    recorder.message("telemetry", 0.01)
    recorder.message("c2d")
    recorder.failed("RequestTimeout", Phase.POLLS)
    verdicts = (Verdict("errors == 0", "1", passed=False),)
    return replace(recorder.summary("devices: 1\n", {"hublet": "0.1.0"}), verdicts=verdicts)


def test_a_summary_survives_its_json(summary):
    assert parse_summary(format_summary(summary)) == summary


def test_json_can_be_read_without_our_code(summary):
    members = json.loads(format_summary(summary))
    assert members["schema"] == SCHEMA == "hublet.fleet/1"
    assert members["devices"]["connected"] == 1
    assert members["totals"]["onboarding"]["seconds"]["p99"] == pytest.approx(0.5, rel=1e-3)
    assert members["messages"]["c2d"] == {
        "label": "c2d", "count": 1, "perSecond": 0.0, "firstSecond": 0.0, "lastSecond": 0.0, "seconds": None,
    }  # fmt: skip
    assert members["errors"] == [{"reason": "RequestTimeout", "phase": "polls", "count": 1}]
    assert members["thresholds"] == [{"threshold": "errors == 0", "observed": "1", "passed": False}]
    assert members["timeline"][0]["seconds"]["phase.register"]["p50"] == pytest.approx(0.125, rel=0.03)


@pytest.mark.parametrize("text", ["[]", "{}", '{"schema": "hublet.fleet/2"}', '{"schema": "hublet.fleet/1"}', "x"])
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match=r"not a summary|Expecting value"):
        parse_summary(text)


def test_a_member_of_another_type_is_refused(summary):
    members = json.loads(format_summary(summary))
    with pytest.raises(ValueError, match="not a summary"):
        parse_summary(json.dumps({**members, "phases": [1]}))
