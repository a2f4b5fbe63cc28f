import asyncio
import io

import pytest
from rich.console import Console

from device_sim.live_view import LiveView
from device_sim.phases import Phase
from device_sim.recorder import DeviceState, Recorder


class Fleet:
    """A recorder whose clock is moved by hand, and what it is shown on."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.recorder = Recorder(lambda: self.seconds)
        self.output = io.StringIO()

    def onboard(self, devices: int) -> None:
        for _ in range(devices):
            self.recorder.moved(None, DeviceState.CONNECTED)
            self.recorder.phase(Phase.REGISTER, 0.1)
            self.recorder.total("onboarding", 0.5)
            self.recorder.message("telemetry", 0.005)

    def view(self, devices: int = 10, height: int = 40, *, terminal: bool = True, **options: float) -> LiveView:
        console = Console(file=self.output, force_terminal=terminal, width=110, height=height, color_system=None)
        return LiveView(self.recorder, devices, "small", console, **options)

    def shown(self, view: LiveView) -> str:
        """Render as a terminal of this view's height would show it."""
        view.refresh()
        console = Console(file=io.StringIO(), width=110, height=view._console.height, record=True)
        console.print(view.render(self.recorder.snapshot()))
        return console.export_text()


@pytest.fixture
def fleet():
    return Fleet()


def test_bars_and_table_show_how_far_it_is(fleet):
    fleet.recorder.moved(None, DeviceState.WAITING)
    fleet.seconds = 2.0
    fleet.onboard(4)
    text = fleet.shown(fleet.view())
    assert "small  2.0 s  2 onboarded /s" in text
    assert "4/10" in text
    assert "5 devices: 1 waiting, 4 connected" in text
    assert any(line.split()[:2] == ["onboarding", "4"] for line in text.splitlines())


def test_rates_are_those_of_the_last_seconds(fleet):
    view = fleet.view()
    fleet.onboard(2)
    fleet.shown(view)
    fleet.seconds = 100.0
    fleet.shown(view)
    fleet.seconds = 102.0
    fleet.onboard(8)
    assert "4 onboarded /s  4 telemetry /s" in fleet.shown(view)


def test_failures_are_shown_with_their_steps_the_most_frequent_first(fleet):
    fleet.onboard(1)
    fleet.recorder.failed("RequestTimeout", Phase.REGISTER)
    for _ in range(3):
        fleet.recorder.failed("ConnectionRefused 5", Phase.HUB_CONNACK)
    text = fleet.shown(fleet.view())
    assert text.index("ConnectionRefused 5") < text.index("RequestTimeout")
    assert Phase.REGISTER.value in text


def test_a_low_terminal_gets_what_fits(fleet):
    fleet.onboard(1)
    for phase in Phase:
        fleet.recorder.phase(phase, 0.1)
    text = fleet.shown(fleet.view(height=16))
    assert "… and" in text
    assert len(text.splitlines()) <= 16


def test_devices_that_come_back_do_not_overfill_the_bar(fleet):
    fleet.onboard(4)
    assert "4/2" in fleet.shown(fleet.view(devices=2))


def test_without_a_terminal_there_are_plain_lines(fleet):
    fleet.seconds = 2.0
    fleet.onboard(4)
    fleet.recorder.failed("RequestTimeout")
    fleet.recorder.failed("RequestTimeout", Phase.REGISTER)
    line = fleet.view(terminal=False).line(fleet.recorder.snapshot()).plain
    assert line == (
        "2.0 s: 4 of 10 onboarded (2 /s), 4 connected; p50 500 ms, p99 500 ms; 4 telemetry; failed: RequestTimeout 2"
    )


def test_a_fleet_that_did_nothing_yet_has_a_line_too(fleet):
    assert fleet.view().line(fleet.recorder.snapshot()).plain == "0.0 s: 0 of 10 onboarded (0 /s)"


async def test_lines_come_while_it_runs_and_one_at_the_end(fleet):
    with fleet.view(terminal=False, line_seconds=0):
        for _ in range(4):
            await asyncio.sleep(0)
        running = fleet.output.getvalue().count("onboarded")
        fleet.onboard(10)
    lines = fleet.output.getvalue().splitlines()
    assert running >= 1
    assert "10 of 10 onboarded" in lines[-1]
    assert "\x1b" not in fleet.output.getvalue()


async def test_the_terminal_is_left_to_the_summary(fleet):
    """Both have the same tables: the view is erased, line by line (CSI 1 A, CSI 2 K)."""
    fleet.onboard(1)
    with fleet.view():
        await asyncio.sleep(0)
        assert "1/10" in fleet.output.getvalue()
    last_line = fleet.output.getvalue().rpartition("\n")[2]
    assert last_line.count("\x1b[1A\x1b[2K") > 5
    assert last_line.endswith("\x1b[2K")
