"""What the sections of a scenario have in common, and the scalars they are made of."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

MAX_DEVICES = 1_000_000


class Section(BaseModel):
    """A mapping of the file; a key without a value is an empty mapping, a key we do not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_empty(cls, value: object) -> object:
        return {} if value is None else value


def _as_span(value: object) -> object:
    """Take one number for a span without width, and a list for what YAML has instead of a pair."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (value, value)
    return tuple(value) if isinstance(value, list) else value


def _in_order(span: tuple[float, float]) -> tuple[float, float]:
    if span[0] > span[1]:
        raise ValueError(f"must be [least, most], not [{span[0]:g}, {span[1]:g}]")
    return span


def _beside_the_scenario(value: object, info: ValidationInfo) -> object:
    directory = (info.context or {}).get("directory", Path())
    return directory / value if isinstance(value, str | Path) else value


Seconds = Annotated[float, Field(ge=0, le=10_000_000, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, le=10_000_000, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=MAX_DEVICES)]
SecondsSpan = Annotated[tuple[Seconds, Seconds], AfterValidator(_in_order), BeforeValidator(_as_span)]
File = Annotated[Path, BeforeValidator(_beside_the_scenario)]
