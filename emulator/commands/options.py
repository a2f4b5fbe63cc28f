"""Options that several commands share, and how a command says what went wrong."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from adr.errors import AdrError
from adr.store import StoreError
from emulator.config_error import ConfigError
from emulator.listeners import PortTaken
from emulator.state import DEFAULT_DIRECTORY

EXIT_FAILED: Final = 1
# Nothing was done: what was asked for cannot be. The number that typer uses for wrong options.
EXIT_UNUSABLE: Final = 2

STATE_DIRECTORY = Annotated[
    Path,
    typer.Option(
        "--state-dir", envvar="HUBLET_STATE_DIR", default_factory=lambda: DEFAULT_DIRECTORY, show_default="./.hublet",
        help="Where the emulator keeps its state.",
    ),
]  # fmt: skip
CONFIG = Annotated[
    Path | None, typer.Option("--config", envvar="HUBLET_CONFIG", help="Resources to declare (hublet.yaml).")
]


class CommandFailed(Exception):
    """A command cannot do what was asked; the message is for the user."""


@contextmanager
def complain(exit_code: int = EXIT_FAILED) -> Iterator[None]:
    """Turn an expected failure into one message on standard error and an exit code, 1 unless another is said."""
    try:
        yield
    except (AdrError, CommandFailed, ConfigError, PortTaken, StoreError) as error:
        _fail(str(error), exit_code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}", exit_code)


def _fail(message: str, exit_code: int) -> None:
    sys.stderr.write(f"hublet: {message}\n")
    raise typer.Exit(exit_code)
