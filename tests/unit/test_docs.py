import importlib.util
import re
from pathlib import Path

import typer.main
from typer.testing import CliRunner

from emulator.cli import app
from emulator.config import load_config

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text()


def generator() -> object:
    spec = importlib.util.spec_from_file_location("docs_generate", REPOSITORY / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_of_assumptions_is_what_the_code_says() -> None:
    page = (REPOSITORY / "docs" / "assumed.md").read_text()
    assert page == generator().render(), "run `make docs`"  # type: ignore[attr-defined]


def supported_rows() -> list[list[str]]:
    table = README.split("## What is supported")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_every_supported_row_names_tests_that_exist() -> None:
    rows = supported_rows()
    assert len(rows) > 20
    for behaviour, answer, proof in rows:
        assert answer in ("yes", "no", "part"), behaviour
        named = re.findall(r"`([^`]+\.py)`", proof)
        assert bool(named) == (answer != "no"), f"{behaviour}: a supported row names its tests, another has none"
        for name in named:
            assert (REPOSITORY / "tests" / name).is_file(), f"{behaviour}: tests/{name} does not exist"


def test_every_command_of_the_readme_exists_and_every_command_is_in_the_readme() -> None:
    group = typer.main.get_command(app)
    commands = set(group.commands)  # type: ignore[attr-defined]
    named = set(re.findall(r"(?:^|`|\()hublet ([a-z0-9-]+)", README, re.MULTILINE))
    assert named <= commands
    assert commands - {"demo"} <= named
    assert "/hublet demo" in (REPOSITORY / "Makefile").read_text()


def test_every_option_of_the_command_table_exists() -> None:
    runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})
    for line in README.splitlines():
        row = re.match(r"\| `hublet ([a-z0-9-]+(?: issue| onboard| invoke| run| send| show)?)([^`]*)`", line)
        if row is None:
            continue
        shown = runner.invoke(app, [*row.group(1).split(), "--help"]).output
        for option in re.findall(r"--[a-z-]+", row.group(2)):
            assert option in shown, f"hublet {row.group(1)} has no {option}"


def test_configuration_of_the_readme_is_valid(tmp_path: Path) -> None:
    text = README.split("```yaml\n")[1].split("```")[0]
    path = tmp_path / "hublet.yaml"
    path.write_text(text)
    config = load_config(path)
    assert set(config.hubs) == {"hub-europe", "hub-us"}


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in set(re.findall(r"\bmake ([a-z]+)\b", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
