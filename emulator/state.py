"""The state directory: where what lies, and how to look into it while another process runs on it."""

import os
from dataclasses import dataclass
from pathlib import Path

from emulator.listeners import Endpoints, read_endpoints

DEFAULT_DIRECTORY = Path(".hublet")


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """One emulator's durable state: a database, CA keys, certificates to hand out, and the run file."""

    path: Path

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.path / "hublet.sqlite"

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
