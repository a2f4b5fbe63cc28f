"""The lock that keeps a second process off a state directory."""

import fcntl
import os
from pathlib import Path

from adr.store import StoreError


class LockFile:
    """An exclusive lock on `path`, held until `release` or until the process is gone, however it goes.

    The file holds the owner's process id and stays where it is: only the lock on it means anything.

    Raises:
        StoreError: another process (or another opener in this one) holds it.
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(self._descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise StoreError(
                f"the state directory {path.parent} is in use by process {owner}: "
                "stop that hublet first, or choose another --state-dir"
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode("ascii"), 0)

    def release(self) -> None:
        """Give the lock up."""
        os.close(self._descriptor)
