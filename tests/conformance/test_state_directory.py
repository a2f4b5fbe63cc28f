"""A state directory that cannot be used is a clear message and exit code 1, and is left as it was."""

import ctypes
import os
import resource
import shutil
import sqlite3
import stat
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.running_emulator import PORT_OPTIONS, RunningEmulator, run_cli, start_emulator

FREE_PORTS = [part for option in PORT_OPTIONS for part in (option, "0")]
PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE = 1


def up(state_dir: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `hublet up` where it must not get as far as serving."""
    ports = [] if set(arguments) & set(PORT_OPTIONS) else FREE_PORTS
    return run_cli("up", "--state-dir", str(state_dir), *ports, *arguments, timeout=15, **options)


def assert_refused(answer: subprocess.CompletedProcess[str], *words: str) -> None:
    """One message on standard error, no traceback, exit code 1."""
    assert answer.returncode == 1, answer
    messages = [line for line in answer.stderr.splitlines() if line.startswith("hublet: ")]
    assert len(messages) == 1, answer.stderr
    for word in words:
        assert word in messages[0]
    assert "Traceback" not in answer.stderr


def like_any_user() -> None:
    """Let file modes count for root too, in the process that is about to run."""
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0) != 0:
        raise OSError("the right to write everywhere cannot be given up")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state that an emulator left behind in order."""
    running = start_emulator(tmp_path_factory.mktemp("stopped"))
    assert running.stop() == 0
    return running.state_dir


@pytest.fixture
def state_dir(stopped: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoilt."""
    return shutil.copytree(stopped, tmp_path / "state")


def test_only_the_owner_may_look_into_the_state(emulator: RunningEmulator) -> None:
    """Directories 0700, database and private keys 0600; certificates are there for others to read."""
    modes = {
        path.relative_to(emulator.state_dir.parent).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in [emulator.state_dir, *emulator.state_dir.rglob("*")]
    }
    public = {"state/server-ca.pem", "state/dev-ca.pem", "state/run.json", "state/clock.json"}
    directories = {"state", "state/keys"}
    assert {path: mode for path, mode in modes.items() if path in directories} == dict.fromkeys(directories, 0o700)
    assert {path: mode for path, mode in modes.items() if path in public} == dict.fromkeys(public, 0o644)
    private = modes.keys() - public - directories
    assert {"state/hublet.sqlite", "state/keys/default.root-1.key", "state/keys/server-ecdsa.key"} <= private
    assert {path: modes[path] for path in private} == dict.fromkeys(private, 0o600)


def test_second_process_on_the_same_state_is_refused(emulator: RunningEmulator) -> None:
    """The message names the process that has it, and the first one goes on."""
    answer = up(emulator.state_dir)
    assert_refused(answer, "is in use by process", str(emulator.process.pid), str(emulator.state_dir), "--state-dir")
    assert emulator.get("/health")


def test_reset_is_refused_while_the_emulator_runs(emulator: RunningEmulator) -> None:
    answer = emulator.cli("reset", "--yes")
    assert_refused(answer, "is in use by process", str(emulator.process.pid))
    assert (emulator.state_dir / "hublet.sqlite").exists()


@pytest.mark.parametrize(
    ("option", "what"), [("--mqtt-port", "MQTT"), ("--https-port", "HTTPS"), ("--control-port", "control")]
)
def test_port_in_use_names_the_option(emulator: RunningEmulator, state_dir: Path, option: str, what: str) -> None:
    """Whichever port is taken, the message says which, and how to choose another."""
    ports = dict.fromkeys(PORT_OPTIONS, "0") | {option: str(emulator.mqtt_port)}
    answer = up(state_dir, *(part for pair in ports.items() for part in pair))
    assert_refused(answer, f"{what} port {emulator.mqtt_port} on 127.0.0.1 is in use", f"another port with {option}")
    assert not (state_dir / "run.json").exists()


@pytest.mark.parametrize("place", [".", "hublet.sqlite"], ids=["directory", "database"])
def test_state_that_may_not_be_written_is_refused(state_dir: Path, place: str) -> None:
    target = state_dir / place
    target.chmod(target.stat().st_mode & ~0o222)
    answer = up(state_dir, preexec_fn=like_any_user)
    target.chmod(0o700)
    assert_refused(answer, str(state_dir / "hublet.sqlite"), "cannot be opened")


def test_state_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    answer = up(tmp_path / "state", preexec_fn=like_any_user)
    tmp_path.chmod(0o700)
    assert_refused(answer, str(tmp_path / "state"), "Permission denied")


def test_state_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("not a directory")
    assert_refused(up(tmp_path / "state"), str(tmp_path / "state"))
    assert (tmp_path / "state").read_text() == "not a directory"


def overwrite_all(database: Path) -> None:
    database.write_bytes(b"\x55" * 30_000)


def overwrite_pages(database: Path) -> None:
    data = database.read_bytes()
    database.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))


def cut_off(database: Path) -> None:
    database.write_bytes(database.read_bytes()[:10_000])


@pytest.mark.parametrize("spoil", [overwrite_all, overwrite_pages, cut_off])
@pytest.mark.parametrize("command", ["up", "info"])
def test_damaged_database_is_refused(state_dir: Path, spoil: Callable[[Path], None], command: str) -> None:
    """No command takes damage for an empty state, and none repairs it behind one's back."""
    database = state_dir / "hublet.sqlite"
    spoil(database)
    damaged = database.read_bytes()
    answer = up(state_dir) if command == "up" else run_cli("info", "--state-dir", str(state_dir))
    assert_refused(answer, str(database), "hublet reset")
    assert database.read_bytes() == damaged


@pytest.mark.parametrize("is_there", [True, False])
def test_keys_without_their_database_are_not_written_over(state_dir: Path, *, is_there: bool) -> None:
    """An emptied or deleted database is no new state: the root's key would be lost with everything that trusts it."""
    database, keys = state_dir / "hublet.sqlite", sorted((state_dir / "keys").glob("*.key"))
    kept = [key.read_bytes() for key in keys]
    database.unlink()
    if is_there:
        database.touch()
    assert_refused(up(state_dir), str(database), "hublet reset")
    assert [key.read_bytes() for key in keys] == kept
    assert run_cli("reset", "--yes", "--state-dir", str(state_dir)).returncode == 0
    assert not state_dir.exists()


def test_reset_throws_a_damaged_database_away(state_dir: Path) -> None:
    overwrite_all(state_dir / "hublet.sqlite")
    answer = run_cli("reset", "--yes", "--state-dir", str(state_dir))
    assert answer.returncode == 0, answer.stderr
    assert not state_dir.exists()


def test_state_of_a_newer_hublet_is_refused(state_dir: Path) -> None:
    """The schema version is a promise: what is not known is not touched."""
    with closing(sqlite3.connect(state_dir / "hublet.sqlite")) as database:
        database.execute("PRAGMA user_version = 99")
    assert_refused(up(state_dir), "schema version 99")


@pytest.mark.parametrize("kilobytes", [2, 40], ids=["at-once", "half-way"])
def test_start_on_a_full_disk_is_refused_and_repeated_with_room(tmp_path: Path, kilobytes: int) -> None:
    """A start that found no room leaves nothing that the next one would stumble over."""

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, kilobytes * 1024))

    answer = up(tmp_path / "state", preexec_fn=little_room)
    assert_refused(answer, str(tmp_path / "state" / "hublet.sqlite"))
    running = start_emulator(tmp_path)
    assert running.info["idScope"]
    assert running.stop() == 0
