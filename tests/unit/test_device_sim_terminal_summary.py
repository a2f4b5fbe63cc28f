import io
from dataclasses import replace
from datetime import UTC, datetime

from rich.console import Console

from device_sim.phases import Phase
from device_sim.recorder import DeviceState, Recorder
from device_sim.summary import Summary, Verdict
from device_sim.terminal_summary import show_summary

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def shown(summary: Summary) -> str:
    output = io.StringIO()
    show_summary(summary, Console(file=output, width=100))
    return output.getvalue()


def run() -> Recorder:
    clock = [0.0]
    recorder = Recorder(lambda: clock[0], now=lambda: NOW)
    clock[0] = 2.0
    recorder.moved(None, DeviceState.CONNECTED)
    recorder.moved(None, DeviceState.FAILED)
    recorder.phase(Phase.REGISTER, 0.125)
    recorder.total("onboarding", 0.5)
    recorder.message("c2d")
    return recorder


def test_devices_rates_and_latencies_are_shown():
    text = shown(run().summary())
    assert "2 devices: 1 connected, 1 failed after 2.0 s" in text
    assert "1 onboarded (2 /s), 1 c2d (0 /s), no failure" in text
    assert any(line.split() == ["register", "1", *["125", "ms"] * 4] for line in text.splitlines())


def test_failures_and_reconnects_are_shown():
    recorder = run()
    recorder.moved(DeviceState.CONNECTED, DeviceState.RECONNECTING)
    recorder.failed("ConnectionRefused 5", Phase.HUB_CONNACK)
    recorder.failed("odd [bold]reason[/]", Phase.REGISTER)
    text = shown(recorder.summary())
    assert "1 reconnects, 2 failures" in text
    assert any(line.split() == ["ConnectionRefused", "5", "hub_connack", "1"] for line in text.splitlines())
    assert "odd [bold]reason[/]" in text
    assert Phase.REGISTER.value in text


def test_thresholds_are_shown_with_their_verdicts():
    verdicts = (Verdict("errors == 0", "0", passed=True), Verdict("max.renewal <= 2 s", "3 s", passed=False))
    lines = shown(replace(run().summary(), verdicts=verdicts)).splitlines()
    assert any(line.split() == ["errors", "==", "0", "0", "✓", "met"] for line in lines)
    assert any(line.split()[-2:] == ["✗", "missed"] for line in lines)


def test_a_run_in_which_nothing_happened_has_no_tables():
    recorder = Recorder(lambda: 0.0, now=lambda: NOW)
    lines = shown(recorder.summary()).splitlines()
    assert lines == ["", "0 devices: none after 0.0 s", "nothing done yet, no failure"]


def test_run_that_a_condition_ended_says_which_and_keeps_it_on_one_line():
    console = Console(file=io.StringIO(), width=40)
    summary = replace(Recorder(lambda: 0.0).summary(), stopped_by="errors > 100 and a long way to the right")
    show_summary(summary, console)
    assert "after 0.0 s, stopped by errors > 100 and a long way to the right\n" in console.file.getvalue()
