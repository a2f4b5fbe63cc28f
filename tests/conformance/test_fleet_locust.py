"""A fleet on Locust's master and two workers on loopback, against a real emulator process."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conformance.running_emulator import REPOSITORY, RunningEmulator, start_emulator

CONFIG = """
namespaces: {factory: {policies: {default: {}}}}
hubs: {hub1: {namespace: factory}}
dps:
  dps1:
    namespace: factory
    retry_after_seconds: 0
    enrollment_groups: {by-ca: {ca: dev-ca, credential_policy: default}}
"""
DEVICES = 41
SCENARIO = {
    "name": "two workers",
    "devices": DEVICES,
    "arrival": {"kind": "rate", "per_second": 40},
    "behaviour": {"telemetry": {"messages": 2}},
    "thresholds": ["errors == 0", f"onboarded == {DEVICES}", "p99.registration < 30 s"],
}
PHASES = ("dps_tls", "dps_connack", "dps_suback", "register", "polls", "hub_tls", "hub_connack", "first_puback")
SECONDS = 60


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An emulator whose DPS lets devices ask again at once."""
    running = start_emulator(tmp_path_factory.mktemp("locust"), config=CONFIG)
    yield running
    running.stop()


@dataclass
class Outcome:
    """What the master said and wrote, and how each worker ended."""

    exit_code: int
    text: str
    summary: dict[str, Any]
    workers: list[int]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Run:
    """A master and two workers, begun at the same time."""

    def __init__(self, emulator: RunningEmulator, directory: Path, scenario: dict[str, Any], **other: Any) -> None:
        self._directory = directory
        port = str(free_port())
        file = directory / "scenario.yaml"
        file.write_text(yaml.safe_dump(scenario))
        second = directory / "second.yaml"
        second.write_text(yaml.safe_dump({**scenario, **other}))
        state = ("--state-dir", str(emulator.state_dir))
        self.workers = [self._begin(each, "--worker", "--master-port", port, *state) for each in (file, second)]
        outputs = ("--json", str(directory / "summary.json"))
        self.master = self._begin(file, "--master", "--expect-workers", "2", "--master-port", port, *outputs)

    def _begin(self, scenario: Path, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "emulator", "fleet", "locust", str(scenario), *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=REPOSITORY)

    def end(self) -> Outcome:
        """Wait for all three; none is left running."""
        try:
            text, _ = self.master.communicate(timeout=SECONDS)
            workers = [worker.wait(timeout=20) for worker in self.workers]
        finally:
            for process in (self.master, *self.workers):
                if process.poll() is None:
                    process.kill()
                process.communicate()
        file = self._directory / "summary.json"
        return Outcome(self.master.returncode, text, json.loads(file.read_text()) if file.exists() else {}, workers)


def connected_ids(emulator: RunningEmulator) -> list[str]:
    return re.findall(r"device (sim-\d+): connected to hub", emulator.log.read_text())


def wait_until_connected(emulator: RunningEmulator, device_id: str) -> None:
    deadline = time.monotonic() + SECONDS
    while f"device {device_id}: connected to hub" not in emulator.log.read_text():
        assert time.monotonic() < deadline, "the fleet never came"
        time.sleep(0.1)


def test_two_workers_run_disjoint_parts_of_one_fleet(quick: RunningEmulator, tmp_path: Path) -> None:
    """All devices are there once, the master has the rows, the whole summary, and the verdicts."""
    outcome = Run(quick, tmp_path, SCENARIO).end()
    assert outcome.exit_code == 0, outcome.text
    assert outcome.workers == [0, 0]
    # Each device was on the hub once: had two workers had one of them, it would be there twice.
    assert sorted(connected_ids(quick)) == [f"sim-{number:06}" for number in range(1, DEVICES + 1)]
    assert "worker 0: devices 0 to 20 (21)" in outcome.text
    assert "worker 1: devices 21 to 40 (20)" in outcome.text
    for row in (*(f"phase    {phase}" for phase in PHASES), "total    onboarding", "total    registration"):
        assert re.search(rf"^{row} +{DEVICES} +0\(0.00%\)", outcome.text, re.MULTILINE), (row, outcome.text)
    assert re.search(rf"^message  telemetry +{2 * DEVICES} ", outcome.text, re.MULTILINE)
    assert outcome.summary["totals"]["onboarding"]["count"] == DEVICES
    assert outcome.summary["devices"]["finished"] == DEVICES
    assert all(each["passed"] for each in outcome.summary["thresholds"])
    assert "two workers" in outcome.summary["scenario"]


def test_missed_threshold_and_failures_by_reason_make_the_master_fail(quick: RunningEmulator, tmp_path: Path) -> None:
    """Devices whose clock is wrong do not trust the server: Locust and the summary have them by reason."""
    scenario = {
        **SCENARIO,
        "devices": 8,
        "id_template": "wrong-{number}",
        "retry": {"attempts": 1},
        "device_faults": {"wrong_clock": {"share": 1, "offset_seconds": -864000000}},
        "thresholds": ["errors == 0"],
    }
    outcome = Run(quick, tmp_path, scenario).end()
    assert outcome.exit_code == 1, outcome.text
    assert outcome.summary["devices"]["failed"] == 8
    [error] = outcome.summary["errors"]
    assert error["count"] == 8
    assert error["reason"] in outcome.text
    assert re.search(rf"^phase    {error['phase']} +8 +8\(100.00%\)", outcome.text, re.MULTILINE), outcome.text


def test_worker_with_another_scenario_is_refused(quick: RunningEmulator, tmp_path: Path) -> None:
    """Parts of different fleets would not make one: nothing is run, and the master says why."""
    outcome = Run(quick, tmp_path, {**SCENARIO, "id_template": "other-{number}"}, seed=7).end()
    assert outcome.exit_code == 1
    assert "this worker's scenario is not the master's" in outcome.text
    assert sorted(outcome.workers) == [0, 1]


def test_interrupted_master_lets_devices_leave_and_reports(quick: RunningEmulator, tmp_path: Path) -> None:
    """One Ctrl-C on the master ends the whole fleet in order."""
    scenario = {**SCENARIO, "devices": 6, "id_template": "stay-{number}", "behaviour": {}, "thresholds": []}
    run = Run(quick, tmp_path, scenario)
    for number in range(1, 7):  # each worker's devices
        wait_until_connected(quick, f"stay-{number}")
    run.master.send_signal(signal.SIGINT)
    outcome = run.end()
    assert outcome.exit_code == 130, outcome.text
    assert outcome.summary["devices"]["finished"] == 6
    assert outcome.summary["errorCount"] == 0
