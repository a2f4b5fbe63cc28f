"""The table of commands: complete, in good order, and nothing imported before it is called."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from emulator.cli import MODULES, app

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", MODULES)
def test_every_command_of_the_table_is_there_under_its_own_name(name: str) -> None:
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    assert command.name == name
    assert command.help


def test_no_command_is_imported_before_it_is_called() -> None:
    names = "[name for name in sys.modules if name.startswith('emulator.commands.')]"
    program = f"import sys, emulator.cli; print({names})"
    answer = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"


def test_unknown_command_is_told_its_neighbour() -> None:
    answer = CliRunner().invoke(app, ["inf"])
    assert answer.exit_code == 2
    assert "Did you mean 'info'" in answer.output


def test_help_lists_all_commands_with_their_first_sentence() -> None:
    text = CliRunner(env={"COLUMNS": "160", "TERM": "dumb"}).invoke(app, ["--help"]).stdout
    for name in MODULES:
        assert f" {name} " in text
    assert "Run the emulator until Ctrl-C." in text
