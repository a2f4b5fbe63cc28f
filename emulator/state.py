"""The state directory: where what lies, and how to look into it while another process runs on it."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from adr.store import StoreError
from emulator.listeners import Endpoints, read_endpoints

DEFAULT_DIRECTORY = Path(".hublet")
# What emulators write here, with what a process that was killed left: SQLite's files, and files half written.
WRITTEN = ("server-ca.pem", "dev-ca.pem", "clock.json", "run.json")
OWN_FILES = ("hublet.sqlite*", "keys/*.key", "keys/.*.key.*", *WRITTEN, *(f".{name}.*" for name in WRITTEN))


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """One emulator's durable state: a database, CA keys, certificates to hand out, and the run file."""

    path: Path

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.path / "hublet.sqlite"

    @property
    def lock_file(self) -> Path:
        """Whoever holds its lock runs on this state."""
        return self.path / "hublet.sqlite.lock"

    @property
    def keys(self) -> Path:
        """The private keys of the CAs."""
        return self.path / "keys"

    @property
    def server_ca(self) -> Path:
        """The certificate that clients have to trust."""
        return self.path / "server-ca.pem"

    @property
    def run_file(self) -> Path:
        """The ports of the process that runs on this state, while it runs."""
        return self.path / "run.json"

    @property
    def clock_file(self) -> Path:
        """How the emulator's clock stands, for commands beside its process."""
        return self.path / "clock.json"

    @property
    def exists(self) -> bool:
        """Whether an emulator ever ran here."""
        return self.database.exists()

    def remove(self) -> bool:
        """Delete what emulators wrote here, and the directory unless others' files remain; tell whether it went.

        Nobody may run on it: hold `lock_file`.

        Raises:
            OSError: a file cannot be removed.
        """
        for pattern in OWN_FILES:
            for file in self.path.glob(pattern):
                file.unlink(missing_ok=True)
        try:
            if self.keys.is_dir():
                self.keys.rmdir()
            self.path.rmdir()
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            return False
        return True

    @property
    def has_keys(self) -> bool:
        """Whether CA keys lie here."""
        return any(self.keys.glob("*.key"))

    def check_database(self) -> None:
        """Refuse keys without their database: to begin anew would write over the keys of CAs that are trusted.

        Raises:
            StoreError: there are CA keys, and the database is missing or empty.
        """
        written = (file for file in (self.database, self.path / f"{self.database.name}-wal") if file.exists())
        if any(file.stat().st_size for file in written) or not self.has_keys:
            return
        raise StoreError(
            f"{self.database} is missing or empty, but {self.keys} holds its CAs' keys: put the database back, or "
            f"let `hublet reset` throw the keys away"
        )

    def running(self) -> Endpoints | None:
        """The endpoints of the process that runs on this state; None when there is none."""
        endpoints = read_endpoints(self.run_file)
        return endpoints if endpoints is not None and _is_alive(endpoints.pid) else None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
