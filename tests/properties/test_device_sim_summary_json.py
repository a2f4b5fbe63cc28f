import contextlib
import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from device_sim.phases import Phase
from device_sim.recorder import DeviceState, Recorder
from device_sim.summary import Summary
from device_sim.summary_json import format_summary, parse_summary

NOW = datetime(2026, 3, 1, tzinfo=UTC)

events = st.lists(
    st.tuples(st.floats(0, 5), st.sampled_from(["phase", "total", "message", "failed", "moved"]), st.floats(0, 4_000)),
    max_size=30,
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


def run(happened: list[tuple[float, str, float]]) -> Summary:
    clock = [0.0]
    recorder = Recorder(lambda: clock[0], now=lambda: NOW)
    for pause, kind, seconds in happened:
        clock[0] += pause
        match kind:
            case "phase":
                recorder.phase(Phase.REGISTER, seconds)
            case "total":
                recorder.total("onboarding", seconds)
            case "message":
                recorder.message("telemetry", seconds)
            case "failed":
                recorder.failed(f"reason {seconds}", Phase.REGISTER)
            case _:
                recorder.moved(None, DeviceState.WAITING)
    return recorder.summary("name: x\n", {"hublet": "0"})


@given(events)
def test_parse_of_format_is_the_summary(happened):
    summary = run(happened)
    assert parse_summary(format_summary(summary)) == summary


@given(st.text() | st.binary())
def test_any_text_is_refused_with_a_value_error(text):
    with contextlib.suppress(ValueError):
        parse_summary(text)


@given(st.data(), anything)
def test_any_member_may_be_anything(data, value):
    members = json.loads(format_summary(run([(0.1, "phase", 1.0), (0.1, "failed", 1.0)])))
    place = members
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = value
    with contextlib.suppress(ValueError):
        parse_summary(json.dumps(members))
