"""A server under test as the operating system sees it: its process, CPU time and memory."""

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench.cores import SERVER_CORE, on_core

START_SECONDS = 60.0
STOP_SECONDS = 20.0
# What a server still does after its clients have their answers: closing sockets.
SETTLE_SECONDS = 0.1
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Target:
    """Where the load goes: a TLS port on loopback, and the file with the CA of its server certificate."""

    port: int
    ca_file: Path


class Server:
    """A child process on the server's core; leaving the `with` block ends it.

    Raises:
        OSError: the program cannot be started.
    """

    def __init__(self, command: Sequence[str | Path], log_file: Path) -> None:
        with on_core(SERVER_CORE), log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [str(each) for each in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._log_file = log_file
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process as a terminal would, and at last by force."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def cpu_seconds(self) -> float:
        """Return utime + stime of all its threads; the kernel counts in ticks of 10 ms."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    def settled_cpu_seconds(self) -> float:
        """Return the CPU seconds once it has had time to finish what it was doing."""
        time.sleep(SETTLE_SECONDS)
        return self.cpu_seconds()

    def resident_bytes(self) -> int:
        """Return its resident memory."""
        return process_resident_bytes(self.pid)

    def wait_for_port(self, port: int) -> None:
        """Return when something accepts connections on a loopback port.

        Raises:
            RuntimeError: the process ended, or nothing listens within a minute; the message ends with its log.
        """
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.check_running()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeError(f"nothing listens on port {port} after {START_SECONDS:g} s: {self._log_end()}")

    def wait_for_file(self, path: Path) -> None:
        """Return when a file is there, looking every 2 ms.

        Raises:
            RuntimeError: the process ended, or there is none within a minute; the message ends with its log.
        """
        deadline = time.monotonic() + START_SECONDS
        while not path.exists():
            self.check_running()
            if time.monotonic() > deadline:
                raise RuntimeError(f"no {path} after {START_SECONDS:g} s: {self._log_end()}")
            time.sleep(0.002)

    def check_running(self) -> None:
        """Return if the process lives.

        Raises:
            RuntimeError: it ended; the message ends with its log.
        """
        if self._process.poll() is not None:
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.returncode}: {self._log_end()}")

    def _log_end(self) -> str:
        return self._log_file.read_text(errors="replace")[-2000:]


def process_resident_bytes(pid: int) -> int:
    """Return a process's resident memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


def allow_many_files() -> None:
    """Raise this process's limit of open files, and that of its children, as far as it goes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_port() -> int:
    """Return a loopback port that was free a moment ago, for programs that cannot choose one themselves."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
