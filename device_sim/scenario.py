"""A scenario: which devices there are, when they come, what they do, what happens to them, and what is expected.

Everything in it has a default, so a flag or two make a scenario; `load_scenario` reads a file, `preset` one of ours.
"""

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, ValidationError, model_validator

from certs.keys import KeyType
from device_sim.arrival import Arrival, AtOnce
from device_sim.scenario_behaviour import Behaviour
from device_sim.scenario_credential import Credential, DevelopmentCa, GroupKey, IndividualKeys
from device_sim.scenario_error import ScenarioError, ScenarioProblem, explain
from device_sim.scenario_faults import DeviceFaults
from device_sim.scenario_section import Count, File, PositiveSeconds, Seconds, Section, Share
from device_sim.thresholds import Threshold, parse_threshold

__all__ = ["Scenario", "ScenarioError", "load_scenario", "parse_scenario", "preset", "preset_names", "preset_text"]

PRESETS = files("device_sim") / "presets"
# Source: RFC 5280 ub-common-name (documented): a device's ID is its certificate's common name.
MAX_ID_CHARACTERS = 64
_ID = re.compile(r"[A-Za-z0-9._:-]{0,127}[A-Za-z0-9-]")


class Retry(Section):
    """How a device tries again: after `initial_seconds`, doubled each time up to `max_seconds`.

    A wait is shortened at random by up to its part `jitter`; a wait that the service asks for (retry-after) is never
    shortened. After `attempts` in a row the device has failed; None goes on until the run ends.
    """

    attempts: Annotated[int, Field(ge=1)] | None = 5
    initial_seconds: PositiveSeconds = 1
    max_seconds: PositiveSeconds = 60
    jitter: Share = 0.5


class ConnectionSection(Section):
    """How devices speak: keep-alive (0: none), the longest wait for an answer, and for a registration or renewal."""

    keep_alive_seconds: Annotated[int, Field(ge=0, le=65_535)] = 120
    timeout_seconds: PositiveSeconds = 30
    operation_timeout_seconds: PositiveSeconds = 180
    clean_session: bool = False


def _threshold(value: object) -> Threshold:
    if not isinstance(value, str):
        raise ValueError(f"must be a text such as 'errors == 0', not {value!r}")  # noqa: TRY004 - pydantic wants it
    return parse_threshold(value)


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


ThresholdText = Annotated[Threshold, PlainValidator(_threshold), PlainSerializer(str)]
Thresholds = Annotated[tuple[ThresholdText, ...], BeforeValidator(_as_tuple)]
KeyTypeName = Annotated[KeyType, Field(strict=False)]


class Scenario(Section):
    """A run of a fleet.

    `id_template` makes registration IDs of `{number}`, counted from `first_number`. `csr` asks DPS for an operational
    certificate, for a key of `key_type`, from the pool `keys` if there is one. `concurrency` limits how many devices
    onboard at a time; the others wait, which counts as their latency. The run ends when `duration_seconds` are over,
    when a condition of `stop_when` holds, or when every device has done what it has to; else it goes on until it is
    stopped. `seed` fixes every decision that is made at random.
    """

    name: Annotated[str, Field(min_length=1, max_length=100)] = "fleet"
    description: str = ""
    devices: Count = 10
    id_template: Annotated[str, Field(min_length=1, max_length=200)] = "sim-{number:06}"
    first_number: Annotated[int, Field(ge=0)] = 1
    credential: Credential = Field(default_factory=DevelopmentCa)
    key_type: KeyTypeName = KeyType.P256
    csr: bool = True
    keys: File | None = None
    arrival: Arrival = Field(default_factory=AtOnce)
    concurrency: Count | None = None
    connection: ConnectionSection = Field(default_factory=ConnectionSection)
    retry: Retry = Field(default_factory=Retry)
    behaviour: Behaviour = Field(default_factory=Behaviour)
    device_faults: DeviceFaults = Field(default_factory=DeviceFaults)
    seed: int = 1
    duration_seconds: Seconds | None = None
    stop_when: Thresholds = ()
    thresholds: Thresholds = ()

    def registration_id(self, device: int) -> str:
        """Name a device, counted from 0."""
        return self.id_template.format(number=self.first_number + device)

    def to_yaml(self) -> str:
        """Write the whole scenario, defaults included and keys masked, for a report."""
        return yaml.safe_dump(self.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True)

    @model_validator(mode="after")
    def _ids_are_valid(self) -> Self:
        if isinstance(self.credential, IndividualKeys):
            return self
        try:
            first, last = self.registration_id(0), self.registration_id(self.devices - 1)
        except (ValueError, LookupError, AttributeError) as error:
            raise ValueError(f"id_template: {self.id_template!r} cannot be filled in: {error}") from None
        if self.devices > 1 and first == last:
            raise ValueError(f"id_template: {self.id_template!r} needs {{number}}, or all devices have one ID")
        for name in (first, last):
            if not _ID.fullmatch(name) or len(name) > self._longest_id:
                raise ValueError(
                    f"id_template: {name!r} is no registration ID: 1 to {self._longest_id} letters, digits and -._:, "
                    "the last one a letter, a digit or a dash"
                )
        return self

    @model_validator(mode="after")
    def _certificate_is_asked_for(self) -> Self:
        if self.behaviour.renewal is not None and not self.csr:
            raise ValueError("behaviour.renewal: needs csr: true, there is nothing to renew otherwise")
        return self

    @property
    def _longest_id(self) -> int:
        has_certificate = self.csr or not isinstance(self.credential, GroupKey | IndividualKeys)
        return MAX_ID_CHARACTERS if has_certificate else 128


def parse_scenario(value: object, directory: Path, source: str = "scenario") -> Scenario:
    """Read a scenario from plain values; files that it names are looked for in `directory`.

    Raises:
        ScenarioError: it breaks a rule; all problems at once.
    """
    try:
        return Scenario.model_validate(value, context={"directory": directory})
    except ValidationError as error:
        # Not chained: pydantic's own message would show the values, keys among them.
        raise ScenarioError(source, explain(error, Scenario)) from None


def load_scenario(path: Path) -> Scenario:
    """Read a scenario file; the files that it names are looked for beside it.

    Raises:
        ScenarioError: it cannot be read, is not YAML, or breaks a rule.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ScenarioError(str(path), [ScenarioProblem((), f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise ScenarioError(str(path), [ScenarioProblem((), f"is not UTF-8 at byte {error.start}")]) from error
    return parse_scenario(_parse_yaml(text, str(path)), path.parent, str(path))


def preset_names() -> tuple[str, ...]:
    """Name the scenarios that come with us."""
    return tuple(sorted(each.name.removesuffix(".yaml") for each in PRESETS.iterdir() if each.name.endswith(".yaml")))


def preset_text(name: str) -> str:
    """Return a preset as it is written.

    Raises:
        ScenarioError: there is none of this name.
    """
    if name not in preset_names():
        raise ScenarioError(name, [ScenarioProblem((), f"no preset has this name: {', '.join(preset_names())}")])
    return (PRESETS / f"{name}.yaml").read_text(encoding="utf-8")


def preset(name: str, overrides: Mapping[str, Any] | None = None) -> Scenario:
    """Read a preset, with some of its top-level values replaced.

    Raises:
        ScenarioError: there is none of this name, or what replaces a value breaks a rule.
    """
    values = _parse_yaml(preset_text(name), name)
    assert isinstance(values, dict), "a preset is a mapping"
    return parse_scenario({**values, **(overrides or {})}, Path(), name)


def _parse_yaml(text: str, source: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ScenarioError(source, [ScenarioProblem((), f"not valid YAML: {error}")]) from error
