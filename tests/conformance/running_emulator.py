"""A real emulator in a process of its own, on free ports."""

import json
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certs.keys import KeyType, generate_key
from certs.pem import format_pem, format_private_key
from emulator.bootstrap import open_dev_ca
from tests.conformance.plain_device import Pair

REPOSITORY = Path(__file__).resolve().parents[2]
READY_SECONDS = 30.0
LOG_SECONDS = 5.0
PORT_OPTIONS = ("--mqtt-port", "--https-port", "--control-port")


def run_cli(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run one `hublet` command to its end."""
    command = [sys.executable, "-m", "emulator", *arguments]
    options = {"cwd": REPOSITORY, "timeout": 60, **options}
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@dataclass
class RunningEmulator:
    """One `hublet up`, and what its wait file said."""

    process: subprocess.Popen[bytes]
    state_dir: Path
    log: Path
    mqtt_port: int
    https_port: int
    control_port: int
    _info: dict[str, Any] = field(default_factory=dict)

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another `hublet` command on the same state."""
        return run_cli(*arguments, "--state-dir", str(self.state_dir))

    def get(self, path: str, query: Mapping[str, str] | None = None) -> bytes:
        """Ask the control API."""
        url = f"http://127.0.0.1:{self.control_port}{path}?{urllib.parse.urlencode(query or {})}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            body: bytes = answer.read()
        return body

    @property
    def info(self) -> dict[str, Any]:
        """How to connect; asked for once."""
        if not self._info:
            self._info = json.loads(self.get("/info"))
        return self._info

    @property
    def ca_file(self) -> Path:
        return self.state_dir / "server-ca.pem"

    def id_scope(self, dps: str = "") -> str:
        """The ID scope of a DPS, of the first one without a name."""
        services = self.info["provisioningServices"]
        return str(next(each["idScope"] for each in services if dps in ("", each["name"])))

    def group_key(self, dps: str = "") -> str:
        """The primary key of the symmetric-key group of a DPS."""
        service = next(each for each in self.info["provisioningServices"] if dps in ("", each["name"]))
        return str(next(each["primaryKey"] for each in service["enrollmentGroups"] if "primaryKey" in each))

    def events(self, device_id: str = "") -> list[dict[str, Any]]:
        """The events of a device, or of all, in order."""
        found: list[dict[str, Any]] = []
        positions, following = None, {}
        while positions != following:
            positions = following
            query = {"from": json.dumps(positions), **({"device": device_id} if device_id else {})}
            page = json.loads(self.get("/events", query))
            found += page["events"]
            following = page["positions"]
        return found

    def issue_onboarding(self, registration_id: str, out: Path) -> Pair:
        """Have `hublet dev-ca issue` make an onboarding certificate."""
        answer = self.cli("dev-ca", "issue", "--registration-id", registration_id, "--out", str(out))
        assert answer.returncode == 0, answer.stderr
        return Pair(out / f"{registration_id}.chain.pem", out / f"{registration_id}.key.pem")

    def onboarding_pair(self, registration_id: str, out: Path, key_type: KeyType = KeyType.P256) -> Pair:
        """The same without the price of a process."""
        authority = open_dev_ca(self.state_dir)
        assert authority is not None
        key = generate_key(key_type)
        validity = timedelta(days=1)
        leaf = authority.issue_onboarding(registration_id, key.public_key(), datetime.now(UTC), validity=validity)
        return Pair.write(
            out, f"{registration_id}.onboarding", format_pem(leaf, authority.certificate), format_private_key(key)
        )

    def log_end(self) -> int:
        """Where the log is now, for `wait_for_log`."""
        return self.log.stat().st_size

    def wait_for_log(self, *words: str, since: int = 0) -> str:
        """Wait for a line of the log that has all these words, and return it."""
        deadline = time.monotonic() + LOG_SECONDS
        while True:
            text = self.log.read_bytes()[since:].decode()
            for line in text.splitlines():
                if all(word in line for word in words):
                    return line
            if time.monotonic() > deadline:
                pytest.fail(f"no line of the emulator's log has {words}:\n{text[-3000:]}")
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it in order, and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=20)

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        self.process.kill()
        self.process.wait(timeout=20)

    @property
    def ports(self) -> list[str]:
        """The options that start another one on the same ports."""
        numbers = (self.mqtt_port, self.https_port, self.control_port)
        return [part for option, number in zip(PORT_OPTIONS, numbers, strict=True) for part in (option, str(number))]


def start_emulator(
    directory: Path, *arguments: str, config: str | None = None, **process_options: Any
) -> RunningEmulator:
    """Start `hublet up` on free ports, or those that `arguments` names, and wait until it is ready."""
    state_dir, wait_file, log = directory / "state", directory / "ready.json", directory / "emulator.log"
    wait_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "emulator", "up", "--state-dir", str(state_dir), "--wait-file", str(wait_file)]
    if config is not None:
        (directory / "hublet.yaml").write_text(config)
        command += ["--config", str(directory / "hublet.yaml")]
    for option in PORT_OPTIONS:
        if option not in arguments:
            command += [option, "0"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*command, *arguments], stdout=output, stderr=output, cwd=REPOSITORY, **process_options
        )
    deadline = time.monotonic() + READY_SECONDS
    while not wait_file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            pytest.fail(f"the emulator did not start:\n{log.read_text()[-4000:]}")
        time.sleep(0.02)
    ready = json.loads(wait_file.read_text())
    return RunningEmulator(process, state_dir, log, ready["mqtt_port"], ready["https_port"], ready["control_port"])
