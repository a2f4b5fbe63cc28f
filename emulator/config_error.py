"""What is wrong with a configuration, said in the words of the file."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to correct: where it is (keys and list positions from the top) and what it should be."""

    path: tuple[str | int, ...]
    message: str

    def __str__(self) -> str:
        place = ".".join(str(part) for part in self.path)
        return f"{place}: {self.message}" if place else self.message


def _no_line(_problem: Problem) -> int:
    return 0


class ConfigError(Exception):
    """A configuration that cannot be used; the message has a line for each problem."""

    def __init__(
        self, source: Path | str, problems: Sequence[Problem], line_of: Callable[[Problem], int] = _no_line
    ) -> None:
        self.problems = tuple(sorted(problems, key=line_of))
        lines = [f"  {_line(line_of(problem))}{problem}" for problem in self.problems]
        count = f"{len(lines)} problem{'s' if len(lines) > 1 else ''}"
        super().__init__("\n".join([f"{source}: {count}", *lines]))


def explain(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Turn what the models refused into problems."""
    return [_explain(details, model) for details in error.errors(include_url=False, include_input=False)]


def suggest(name: str, known: Sequence[str]) -> str:
    """Say what was probably meant, or what there is."""
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there is {', '.join(known)}" if known else "there is none"


def _line(number: int) -> str:
    return f"line {number}: " if number else ""


def _explain(details: ErrorDetails, model: type[BaseModel]) -> Problem:
    # A mapping's key that was refused is marked with a last part of its own.
    path = tuple(part for part in details["loc"] if part != "[key]")
    if details["type"] == "value_error":
        return Problem(path, str(details["ctx"]["error"]))
    if details["type"] == "extra_forbidden":
        return Problem(path, _unknown_key(str(path[-1]), _keys_at(model, path[:-1])))
    return Problem(path, _MESSAGES[details["type"]])


def _unknown_key(key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    hint = f", did you mean {close[0]!r}?" if close else ""
    return f"unknown key{hint} (known: {', '.join(known)})"


# The models use no other types: every scalar is read by a parser of ours, which raises ValueError.
_MESSAGES: Mapping[str, str] = MappingProxyType(
    {
        "model_type": "must be a mapping (key: value)",
        "dict_type": "must be a mapping (name: settings)",
        "tuple_type": "must be a list",
    }
)


def _keys_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Return the keys that the section at this path may have."""
    for part in path:
        field = model.model_fields.get(str(part))
        # A part that is no field is the name of a resource: its section is the model reached already.
        if field is not None:
            model = _section_of(field.annotation) or model
    return list(model.model_fields)


def _section_of(annotation: object) -> type[BaseModel] | None:
    """Find the model inside an annotation such as `Mapping[str, HubSection]` or `Section | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = [_section_of(argument) for argument in getattr(annotation, "__args__", ())]
    return next((model for model in found if model is not None), None)
