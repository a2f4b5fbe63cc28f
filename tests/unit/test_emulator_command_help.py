"""What `--help` of every command says is what was written for it."""

from collections.abc import Iterator
from typing import Any

import pytest
from rich.text import Text
from typer.main import get_command

from emulator.cli import app


def commands(command: Any, name: str) -> Iterator[Any]:
    yield pytest.param(command, id=name)
    for each, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{name} {each}")


@pytest.mark.parametrize("command", list(commands(get_command(app), "hublet")))
def test_help_loses_no_word_to_markup(command: Any) -> None:
    """Typer reads help as rich's markup, in which `[the first]` is a style and vanishes."""
    texts = [command.help, *(getattr(each, "help", None) for each in command.params)]
    for text in filter(None, texts):
        assert Text.from_markup(text).plain == text
