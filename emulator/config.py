"""Reading `hublet.yaml`: an error names the field by its path, its line, and what is allowed there."""

from pathlib import Path

from pydantic import ValidationError

from emulator.config_error import ConfigError, Problem, explain
from emulator.config_references import broken_references
from emulator.config_sections import Config
from emulator.yaml_document import YamlDocument, YamlError, parse_yaml

__all__ = ["Config", "ConfigError", "default_config", "load_config"]


def default_config() -> Config:
    """Return what `hublet up` makes when there is no `hublet.yaml`."""
    return Config()


def load_config(path: Path) -> Config:
    """Read a configuration; the files it names are looked for beside it.

    Raises:
        ConfigError: it cannot be read, is not YAML, or breaks a rule; all problems at once, each with its line.
    """
    try:
        document = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(path, [Problem((), f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigError(path, [Problem((), f"is not UTF-8 at byte {error.start}")]) from error
    except YamlError as error:
        line = error.line
        raise ConfigError(path, [Problem((), str(error))], lambda _problem: line) from error
    return _read(path, document)


def _read(path: Path, document: YamlDocument) -> Config:
    def line_of(problem: Problem) -> int:
        return document.line_of(problem.path)

    try:
        config = Config.model_validate(document.value, context={"directory": path.parent})
    except ValidationError as error:
        # Not chained: pydantic's own message would show the values, keys among them.
        raise ConfigError(path, explain(error, Config), line_of) from None
    problems = broken_references(config)
    if problems:
        raise ConfigError(path, problems, line_of)
    return config
