"""A scenario from a file or a preset, with what the command line changes in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device_sim.scenario import Scenario, ScenarioError, parse_scenario, preset_names, preset_text
from emulator.config_error import ConfigError, Problem, suggest
from emulator.yaml_document import YamlDocument, YamlError, parse_yaml

COMMAND_LINE = "the command line"


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a scenario comes from, and what stands there."""

    name: str
    document: YamlDocument
    directory: Path = field(default_factory=Path)


def read_scenario(name: str | None, changes: Mapping[str, Any], settings: Sequence[str]) -> Scenario:
    """Read a file, a preset, or without a name the defaults; then apply changes (dotted keys), then `key=value` texts.

    Raises:
        ConfigError: there is no such scenario, or it breaks a rule; all problems at once, with their lines.
    """
    source = _open(name)
    overrides = {**changes, **dict(_parse_setting(text) for text in settings)}
    values = source.document.value if source.document.value is not None else {}
    for key, value in overrides.items():
        values = _with(values, key.split("."), value, key)
    try:
        return parse_scenario(values, source.directory, source.name)
    except ScenarioError as error:
        problems = [Problem(each.path, each.message) for each in error.problems]
        raise ConfigError(source.name, problems, _lines(source.document, overrides)) from None


def _open(name: str | None) -> _Source:
    if name is None:
        return _Source(COMMAND_LINE, YamlDocument({}, None))
    path = Path(name)
    if not path.is_file() and name in preset_names():
        return _Source(f"preset {name}", parse_yaml(preset_text(name)))
    try:
        return _Source(name, parse_yaml(path.read_text(encoding="utf-8")), path.parent)
    except FileNotFoundError as error:
        hint = suggest(name, preset_names())
        raise ConfigError(name, [Problem((), f"neither a file nor a preset: {hint}")]) from error
    except OSError as error:
        raise ConfigError(name, [Problem((), f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigError(name, [Problem((), f"is not UTF-8 at byte {error.start}")]) from error
    except YamlError as error:
        line = error.line
        raise ConfigError(name, [Problem((), str(error))], lambda _problem: line) from error


def _parse_setting(text: str) -> tuple[str, Any]:
    """Read `key=value`; the key has a dot for each section, the value is YAML."""
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError(COMMAND_LINE, [Problem((), f"--set {text}: must be key=value, such as devices=50")])
    try:
        return key, parse_yaml(value).value
    except YamlError as error:
        raise ConfigError(COMMAND_LINE, [Problem((), f"--set {text}: {error}")]) from error


def _with(values: object, keys: Sequence[str], value: object, setting: str) -> Any:
    """Give the values with one of them replaced; sections on the way are made if they are missing."""
    if not keys:
        return value
    if values is not None and not isinstance(values, dict):
        raise ConfigError(COMMAND_LINE, [Problem((), f"{setting}: {keys[0]!r} would be inside what is no section")])
    section = values or {}
    return {**section, keys[0]: _with(section.get(keys[0]), keys[1:], value, setting)}


def _lines(document: YamlDocument, overrides: Mapping[str, Any]) -> Any:
    def line_of(problem: Problem) -> int:
        path = ".".join(str(part) for part in problem.path)
        is_overridden = any(path == key or path.startswith(f"{key}.") for key in overrides)
        return 0 if is_overridden else document.line_of(problem.path)

    return line_of
