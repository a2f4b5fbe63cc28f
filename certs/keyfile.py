"""Where the private keys of certificate authorities lie: a store of named keys, on disk or in memory."""

import os
import re
import tempfile
from pathlib import Path
from typing import Protocol

from certs.keys import PrivateKey
from certs.pem import format_private_key, parse_private_key

_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,199}")
PRIVATE_MODE = 0o600
PRIVATE_DIRECTORY_MODE = 0o700


class KeyStore(Protocol):
    """Private keys by name; `adr` keeps the keys of its roots and issuing CAs here."""

    def load(self, name: str) -> PrivateKey | None:
        """Read a key; None when there is none of this name."""
        ...

    def save(self, name: str, key: PrivateKey) -> None:
        """Write a key durably, over one of the same name."""
        ...

    def delete(self, name: str) -> None:
        """Forget a key, if there is one."""
        ...


class FileKeyStore:
    """Keys as PKCS#8 PEM files of mode 0600, `<name>.key`, in one directory of mode 0700."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def load(self, name: str) -> PrivateKey | None:
        """Read a key; None when there is none of this name.

        Raises:
            ValueError: the name is not one, or the file does not hold a private key.
            OSError: the file cannot be read.
        """
        path = self._path(name)
        try:
            pem = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            return parse_private_key(pem)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def save(self, name: str, key: PrivateKey) -> None:
        """Write a key durably, over one of the same name.

        Raises:
            ValueError: the name is not one.
            OSError: the file cannot be written.
        """
        path = self._path(name)
        self._directory.mkdir(mode=PRIVATE_DIRECTORY_MODE, parents=True, exist_ok=True)
        write_private(path, format_private_key(key))

    def delete(self, name: str) -> None:
        """Forget a key, if there is one.

        Raises:
            ValueError: the name is not one.
            OSError: the file cannot be removed.
        """
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a key name: 1 to 200 letters, digits, '.', '_' and '-'")
        return self._directory / f"{name}.key"


class MemoryKeyStore:
    """Keys for as long as the process lives."""

    def __init__(self) -> None:
        self._keys: dict[str, PrivateKey] = {}

    def load(self, name: str) -> PrivateKey | None:
        """Read a key; None when there is none of this name."""
        return self._keys.get(name)

    def save(self, name: str, key: PrivateKey) -> None:
        """Keep a key, over one of the same name."""
        self._keys[name] = key

    def delete(self, name: str) -> None:
        """Forget a key, if there is one."""
        self._keys.pop(name, None)


def write_private(path: Path, data: bytes) -> None:
    """Write a secret atomically and durably, readable by its owner only.

    Raises:
        OSError: it could not be written; what was there before is untouched.
    """
    write_atomic(path, data, PRIVATE_MODE)


def write_atomic(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file so that, whenever the power fails, either the old or the new content is there whole.

    Raises:
        OSError: it could not be written; what was there before is untouched. It names `path`, not the file beside it.
    """
    try:
        _write_and_replace(path, data, mode)
        _sync_directory(path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _write_and_replace(path: Path, data: bytes, mode: int) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
