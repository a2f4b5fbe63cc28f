"""Emulators to talk to, shared by as many tests as can share one."""

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.running_emulator import REPOSITORY, RunningEmulator, start_emulator

AZURE_PORTS_LOCK = Path(tempfile.gettempdir()) / "hublet-azure-ports.lock"
SDK_PYTHON = REPOSITORY / ".venv-sdk" / "bin" / "python"


def may_bind(port: int) -> bool:
    """Whether a fixed port of Azure's is free for us here."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def run_until_done(running: RunningEmulator) -> Iterator[RunningEmulator]:
    """Lend an emulator out, and end it."""
    yield running
    if running.process.poll() is None:
        running.stop()


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEmulator]:
    """An emulator with its default resources on free ports, shared by all tests of the run."""
    yield from run_until_done(start_emulator(tmp_path_factory.mktemp("emulator")))


@pytest.fixture(scope="module")
def azure_ports_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEmulator]:
    """An emulator on 8883 and 443: official device SDKs know no other ports, so one file has them at a time."""
    with AZURE_PORTS_LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield from _run_on_azure_ports(tmp_path_factory.mktemp("azure-ports"))


def _run_on_azure_ports(directory: Path) -> Iterator[RunningEmulator]:
    if not may_bind(8883):
        pytest.skip("port 8883 is taken or may not be bound: the official SDK cannot be pointed elsewhere")
    https = "443" if may_bind(443) else "0"
    yield from run_until_done(start_emulator(directory, "--mqtt-port", "8883", "--https-port", https))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Start further emulators in the test's own directory; they are ended with the test."""
    running: list[RunningEmulator] = []

    def begin(*arguments: str, config: str | None = None, **process_options: Any) -> RunningEmulator:
        running.append(start_emulator(tmp_path, *arguments, config=config, **process_options))
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
