"""What is wrong with a scenario, said in the words of its file."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

SECRETS = ("key",)


@dataclass(frozen=True, slots=True)
class ScenarioProblem:
    """One thing to correct: where it is (keys and list positions from the top) and what it should be."""

    path: tuple[str | int, ...]
    message: str

    def __str__(self) -> str:
        place = ".".join(str(part) for part in self.path)
        return f"{place}: {self.message}" if place else self.message


class ScenarioError(Exception):
    """A scenario that cannot be run; the message has a line for each problem."""

    def __init__(self, source: str, problems: Sequence[ScenarioProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join([f"{source}:", *(f"  {problem}" for problem in self.problems)]))


def explain(error: ValidationError, model: type[BaseModel]) -> list[ScenarioProblem]:
    """Turn what the models refused into problems."""
    return [_explain(details, model) for details in error.errors(include_url=False)]


def _explain(details: ErrorDetails, model: type[BaseModel]) -> ScenarioProblem:
    path, known = _place(details["loc"], model)
    kind, context = details["type"], details.get("ctx", {})
    match kind:
        case "value_error":
            return ScenarioProblem(path, str(context["error"]))
        case "extra_forbidden":
            return ScenarioProblem(path, _unknown_key(str(path[-1]), known))
        case "union_tag_not_found":
            return ScenarioProblem((*path, "kind"), "is needed")
        case "union_tag_invalid":
            return ScenarioProblem(
                (*path, "kind"), f"must be one of {context['expected_tags']}, not {context['tag']!r}"
            )
    rule = _RULES.get(kind) or details["msg"].replace("Input should", "must", 1)
    is_secret = path[-1:] and path[-1] in SECRETS
    return ScenarioProblem(path, rule if is_secret or kind == "missing" else f"{rule}, not {_shown(details['input'])}")


# Pydantic's words for the rest name the limit: "must be greater than or equal to 1".
_RULES: Mapping[str, str] = MappingProxyType(
    {
        "missing": "is needed",
        "model_type": "must be a mapping (key: value)",
        "model_attributes_type": "must be a mapping (key: value)",
        "dict_type": "must be a mapping (key: value)",
        "mapping_type": "must be a mapping (key: value)",
        "tuple_type": "must be a list",
        "too_long": "must be one number, or [least, most]",
        "too_short": "must be one number, or [least, most]",
        "string_type": "must be a text",
        "int_type": "must be a whole number",
        "float_type": "must be a number",
        "bool_type": "must be true or false",
        "is_instance_of": "must be the name of a file",
    }
)


def _place(location: Sequence[str | int], model: type[BaseModel]) -> tuple[tuple[str | int, ...], list[str]]:
    """Give the path in the words of the file, and the keys that its section may have.

    Pydantic puts the kind of a section between its name and its keys.
    """
    path: list[str | int] = []
    sections: tuple[type[BaseModel], ...] = (model,)
    known: list[str] = []
    for part in location:
        kinds = tuple(section for section in sections if _kind_of(section) == part)
        if kinds:
            sections = kinds
            continue
        path.append(part)
        known = [name for section in sections for name in section.model_fields]
        fields = [section.model_fields[part] for section in sections if part in section.model_fields]
        sections = _sections_of(fields[0].annotation) if fields else ()
    return tuple(path), known


def _sections_of(annotation: object) -> tuple[type[BaseModel], ...]:
    """Find the models inside an annotation such as `Telemetry | None` or a union of kinds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (annotation,)
    return tuple(each for argument in get_args(annotation) for each in _sections_of(argument))


def _kind_of(section: type[BaseModel]) -> object:
    field = section.model_fields.get("kind")
    return next(iter(get_args(field.annotation)), None) if field is not None else None


def _unknown_key(key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    hint = f", did you mean {close[0]!r}?" if close else ""
    return f"unknown key{hint} (known: {', '.join(known)})"


def _shown(value: object) -> str:
    """Show a value as it was written, kept short."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
