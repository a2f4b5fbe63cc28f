"""A real emulator in a process of its own, and devices to talk to it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SDK_PYTHON = REPOSITORY / ".venv-sdk" / "bin" / "python"
READY_SECONDS = 30.0


@dataclass
class RunningEmulator:
    """One `hublet up`, and what its wait file said."""

    process: subprocess.Popen[bytes]
    state_dir: Path
    log: Path
    mqtt_port: int
    https_port: int
    control_port: int

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another `hublet` command on the same state."""
        return subprocess.run(
            [sys.executable, "-m", "emulator", *arguments, "--state-dir", str(self.state_dir)],
            capture_output=True, text=True, timeout=60, check=False, cwd=REPOSITORY,
        )  # fmt: skip

    @property
    def info(self) -> dict[str, Any]:
        answer = self.cli("info", "--json")
        assert answer.returncode == 0, answer.stderr
        found: dict[str, Any] = json.loads(answer.stdout)
        return found

    @property
    def ca_file(self) -> Path:
        return self.state_dir / "server-ca.pem"

    def events(self, device_id: str) -> list[dict[str, Any]]:
        answer = self.cli("events", "--json", "--device", device_id)
        assert answer.returncode == 0, answer.stderr
        return [json.loads(line) for line in answer.stdout.splitlines()]

    def issue_onboarding(self, registration_id: str, out: Path) -> Path:
        answer = self.cli("dev-ca", "issue", "--registration-id", registration_id, "--out", str(out))
        assert answer.returncode == 0, answer.stderr
        return out

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=20)


def start_emulator(directory: Path, *arguments: str, config: str | None = None) -> RunningEmulator:
    """Start `hublet up` on free ports (or those given last) and wait until it is ready."""
    state_dir, wait_file, log = directory / "state", directory / "ready.json", directory / "emulator.log"
    wait_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "emulator", "up", "--state-dir", str(state_dir), "--wait-file", str(wait_file)]
    if config is not None:
        (directory / "hublet.yaml").write_text(config)
        command += ["--config", str(directory / "hublet.yaml")]
    for option in ("--mqtt-port", "--https-port", "--control-port"):
        if option not in arguments:
            command += [option, "0"]
    with log.open("ab") as output:
        process = subprocess.Popen([*command, *arguments], stdout=output, stderr=output, cwd=REPOSITORY)
    deadline = time.monotonic() + READY_SECONDS
    while not wait_file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            pytest.fail(f"the emulator did not start:\n{log.read_text()[-4000:]}")
        time.sleep(0.02)
    ready = json.loads(wait_file.read_text())
    return RunningEmulator(
        process, state_dir, log, ready["mqtt_port"], ready["https_port"], ready["control_port"]
    )


def may_bind(port: int) -> bool:
    """Whether a fixed port of Azure's is free for us here."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEmulator]:
    """An emulator with its default resources on free ports, shared by all tests of the run."""
    running = start_emulator(tmp_path_factory.mktemp("emulator"))
    yield running
    if running.process.poll() is None:
        running.stop()


@pytest.fixture(scope="session")
def azure_ports_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEmulator]:
    """An emulator on 8883 and 443: official device SDKs know no other ports."""
    if not may_bind(8883):
        pytest.skip("port 8883 is taken or may not be bound: the official SDK cannot be pointed elsewhere")
    https = "443" if may_bind(443) else "0"
    running = start_emulator(
        tmp_path_factory.mktemp("azure-ports"), "--mqtt-port", "8883", "--https-port", https
    )
    yield running
    if running.process.poll() is None:
        running.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Start further emulators in the test's own directory; they are ended with the test."""
    running: list[RunningEmulator] = []

    def begin(*arguments: str, config: str | None = None) -> RunningEmulator:
        running.append(start_emulator(tmp_path, *arguments, config=config))
        return running[-1]

    yield begin
    for each in running:
        if each.process.poll() is None:
            each.kill()


@pytest.fixture(scope="session")
def sdk_python() -> Path:
    """The Python of the official SDK's own virtual environment (`make test` makes it)."""
    if not os.access(SDK_PYTHON, os.X_OK):
        pytest.fail(f"{SDK_PYTHON.relative_to(REPOSITORY)} is missing: run `make .venv-sdk/.installed`")
    return SDK_PYTHON
