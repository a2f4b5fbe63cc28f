import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from certs.keys import KeyType
from device_sim.arrival import Waves
from device_sim.scenario import (
    Scenario,
    ScenarioError,
    load_scenario,
    parse_scenario,
    preset,
    preset_names,
    preset_text,
)
from device_sim.scenario_behaviour import Timing
from device_sim.scenario_credential import GivenCa, GroupKey, IndividualKeys, IssuedCertificate
from device_sim.scenario_faults import is_hit

EXAMPLE = Path(__file__).parents[3] / "docs" / "scenario.example.yaml"


def parse(values: object) -> Scenario:
    return parse_scenario(values, Path("/somewhere"))


def problems_of(values: object) -> list[str]:
    with pytest.raises(ScenarioError) as refused:
        parse(values)
    return [str(problem) for problem in refused.value.problems]


@pytest.fixture
def everything() -> Scenario:
    return load_scenario(EXAMPLE)


def test_nothing_but_defaults_is_a_scenario() -> None:
    assert parse({}) == parse(None) == Scenario()
    assert Scenario().registration_id(0) == "sim-000001"


def test_every_setting_is_read(everything: Scenario) -> None:
    assert everything.credential == GivenCa(
        kind="ca",
        certificate=EXAMPLE.parent / "ca.pem",
        key=EXAMPLE.parent / "ca.key",
        onboarding_key_type=KeyType.P256,
        validity_days=30,
    )
    assert everything.keys == EXAMPLE.parent / "keys.pool"
    assert everything.arrival == Waves(kind="waves", size=100, every_seconds=10)
    assert everything.key_type is KeyType.P384
    assert everything.behaviour.reconnect is not None
    assert everything.behaviour.reconnect.timing is Timing.TOGETHER
    assert everything.behaviour.think_times.before_connect_seconds == (0.5, 2)
    assert everything.behaviour.think_times.before_telemetry_seconds == (1, 1)
    assert [str(threshold) for threshold in everything.stop_when] == ["errors > 100"]


def sections_of(annotation: object) -> Iterator[type[BaseModel]]:
    """The models of a scenario, outer ones first."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from sections_of(field.annotation)
    for argument in get_args(annotation):
        yield from sections_of(argument)


def settings_shown(section: BaseModel) -> Iterator[tuple[type[BaseModel], str]]:
    """The settings that a file has, each with its section."""
    for name in section.model_fields_set:
        yield type(section), name
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from settings_shown(value)


def test_the_example_shows_every_setting(everything: Scenario) -> None:
    # Of the kinds that exclude each other one is used, and the comments show the others.
    sections = [each for each in sections_of(Scenario) if "kind" not in each.model_fields]
    wanted = {(section, name) for section in sections for name in section.model_fields}
    inherited = {(IssuedCertificate, name) for name in IssuedCertificate.model_fields}
    assert wanted - inherited <= set(settings_shown(everything))


@pytest.mark.parametrize("line", [line for line in EXAMPLE.read_text().splitlines() if line.startswith("#   {")])
def test_every_kind_in_a_comment_of_the_example_can_be_used(line: str) -> None:
    section = yaml.safe_load(line[1 : line.index("}") + 1])
    assert parse({"arrival" if section["kind"] in ("at-once", "rate", "ramp", "waves") else "credential": section})


def test_defaults_in_the_comments_of_the_example_are_true() -> None:
    words = {"none": None, "no": None, "true": True, "false": False}
    defaults: dict[str, list[object]] = {"properties": [None]}
    for section in sections_of(Scenario):
        for name, field in section.model_fields.items():
            defaults.setdefault(name, []).append(_plain(field.get_default(call_default_factory=True)))
    said = re.findall(r"^ *([a-z_0-9]+): .*? # (-?\d\S*|true|false|each|none|P-256|no)\b", EXAMPLE.read_text(), re.M)
    assert len(said) > 40
    for name, text in said:
        assert words.get(text, yaml.safe_load(text)) in defaults[name], name


def _plain(default: object) -> object:
    """A default as one writes it: of a span the one number, of a list that is empty nothing."""
    if isinstance(default, tuple):
        return default[0] if default else None
    return default.value if isinstance(default, KeyType) else default


def test_what_is_written_for_the_report_is_the_same_scenario(everything: Scenario) -> None:
    assert parse(yaml.safe_load(everything.to_yaml())) == everything


def test_ids_are_made_of_the_template_and_the_first_number(everything: Scenario) -> None:
    assert [everything.registration_id(device) for device in range(2)] == ["line7-000001", "line7-000002"]


def test_no_report_and_no_message_shows_a_key() -> None:
    scenario = parse({"credential": {"kind": "group-key", "key": "c2VjcmV0"}, "csr": False})
    assert isinstance(scenario.credential, GroupKey)
    assert "c2VjcmV0" not in scenario.to_yaml() + repr(scenario) + str(scenario)
    assert problems_of({"credential": {"kind": "group-key", "key": 12345}}) == ["credential.key: must be a text"]
    assert problems_of({"credential": {"kind": "group-key", "key": "c2VjcmV0", "key_file": "k"}}) == [
        "credential: takes key or key_file, not both"
    ]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([], "must be a mapping (key: value), not a list"),
        ({"devices": 0}, "devices: must be greater than or equal to 1, not 0"),
        ({"devices": {}}, "devices: must be a whole number, not a mapping"),
        ({"devices": "10"}, "devices: must be a whole number, not '10'"),
        ({"devices": None}, "devices: must be a whole number, not nothing"),
        ({"csr": "yes"}, "csr: must be true or false, not 'yes'"),
        ({"name": 5}, "name: must be a text, not 5"),
        ({"keys": 5}, "keys: must be the name of a file, not 5"),
        ({"key_type": "P-255"}, "key_type: must be 'P-256', 'P-384', 'P-521', 'RSA-2048', 'RSA-3072' or"),
        ({"duration_seconds": float("nan")}, "duration_seconds: must be a finite number, not nan"),
        ({"thresholds": "errors == 0"}, "thresholds: must be a list, not 'errors == 0'"),
        ({"thresholds": ["errors == 0", 5]}, "thresholds.1: must be a text such as 'errors == 0', not 5"),
        ({"thresholds": ["erors == 0"]}, "thresholds.0: 'erors' is not measured, did you mean 'errors'?"),
        ({"arrival": {}}, "arrival.kind: is needed"),
        ({"arrival": "rate"}, "arrival: must be a mapping (key: value), not 'rate'"),
        ({"arrival": {"kind": "rat"}}, "arrival.kind: must be one of 'at-once', 'rate', 'ramp', 'waves', not 'rat'"),
        ({"arrival": {"kind": "rate"}}, "arrival.per_second: is needed"),
        ({"arrival": {"kind": "rate", "per_second": True}}, "arrival.per_second: must be a number, not true"),
        ({"arrival": {"kind": "at-once", "size": 2}}, "arrival.size: unknown key (known: kind)"),
        ({"credential": {"kind": "ca", "certificate": "x"}}, "credential.key: is needed"),
        ({"behaviour": 5}, "behaviour: must be a mapping (key: value), not 5"),
        ({"behaviour": {"telemetry": {}}}, "behaviour.telemetry: needs messages_per_second, messages or both"),
        (
            {"behaviour": {"telemetry": {"messages": 1, "template": "$nmber"}}},
            "behaviour.telemetry.template: $nmber is not known: there is $number, $device_id, $message, $time, $random",
        ),
        (
            {"behaviour": {"telemetry": {"messages": 1, "template": "5 $"}}},
            "behaviour.telemetry.template: must have $name or ${name} for what is filled in, and $$ for a dollar sign",
        ),
        (
            {"behaviour": {"think_times": {"before_connect_seconds": [2, 1]}}},
            "behaviour.think_times.before_connect_seconds: must be [least, most], not [2, 1]",
        ),
        (
            {"behaviour": {"think_times": {"before_connect_seconds": [1, 2, 3]}}},
            "behaviour.think_times.before_connect_seconds: must be one number, or [least, most], not a list",
        ),
        (
            {"behaviour": {"reconnect": {"times": 2}}},
            "behaviour.reconnect: more than one time needs every_seconds",
        ),
        ({"behaviour": {"reconnect": {"timing": "x"}}}, "behaviour.reconnect.timing: must be 'each' or 'together'"),
        ({"behaviour": {"renewal": None}, "csr": 5}, "csr: must be true or false, not 5"),
        ({"behaviour": {"renewal": {}}, "csr": False}, "behaviour.renewal: needs csr: true"),
        ({"device_faults": {"slow_network": {"share": 1}}}, "device_faults.slow_network: needs delay_seconds"),
        ({"device_faults": {"power_loss": 1.5}}, "device_faults.power_loss: must be less than or equal to 1, not 1.5"),
        ({"id_template": "sim"}, "id_template: 'sim' needs {number}, or all devices have one ID"),
        ({"id_template": "sim-{nmber}"}, "id_template: 'sim-{nmber}' cannot be filled in: 'nmber'"),
        ({"id_template": "sim-{"}, "id_template: 'sim-{' cannot be filled in: Single '{' encountered in format string"),
        ({5: 6}, "5: Keys should be strings, not 5"),
    ],
    ids=str,
)  # fmt: skip
def test_mistake_is_told_by_its_place_and_what_is_allowed(values: Any, problem: str) -> None:
    (found,) = problems_of(values)
    assert found.startswith(problem)


def test_unknown_key_is_told_with_the_one_that_was_meant() -> None:
    assert problems_of({"devicse": 3})[0].startswith("devicse: unknown key, did you mean 'devices'? (known: name, ")
    (found,) = problems_of({"behaviour": {"telemetry": {"messages": 1, "size_byte": 3}}})
    assert found.startswith(
        "behaviour.telemetry.size_byte: unknown key, did you mean 'size_bytes'? (known: messages_per"
    )


def test_all_mistakes_are_told_at_once() -> None:
    assert len(problems_of({"devices": 0, "seed": "x", "arrival": {"kind": "rate"}})) == 3


@pytest.mark.parametrize(
    ("template", "values"),
    [
        ("sim {number}", {}),
        ("sim-{number}.", {}),
        ("x" * 60 + "{number:06}", {}),
        ("x" * 60 + "{number:06}", {"credential": {"kind": "group-key"}}),
        ("x" * 123 + "{number:06}", {"credential": {"kind": "group-key"}, "csr": False}),
    ],
)
def test_id_that_no_service_takes_is_refused(template: str, values: dict[str, Any]) -> None:
    (found,) = problems_of({"id_template": template, **values})
    assert "is no registration ID" in found


def test_id_of_a_device_without_certificate_may_have_128_characters() -> None:
    scenario = parse({"id_template": "x" * 122 + "{number:06}", "credential": {"kind": "group-key"}, "csr": False})
    assert len(scenario.registration_id(0)) == 128


def test_ids_of_individual_keys_come_from_their_file() -> None:
    scenario = parse({"id_template": "unused", "credential": {"kind": "individual-keys", "file": "keys.csv"}})
    assert scenario.credential == IndividualKeys(kind="individual-keys", file=Path("/somewhere/keys.csv"))


def test_one_device_needs_no_number_in_its_id() -> None:
    assert parse({"id_template": "the-one", "devices": 1}).registration_id(0) == "the-one"


# --- files and presets ---


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"devices: [", "not valid YAML"),
        (b"\xff", "is not UTF-8 at byte 0"),
        (b"devices: -1", "devices: must be greater than or equal to 1, not -1"),
    ],
)
def test_file_that_is_no_scenario_is_refused_by_its_name(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(ScenarioError, match=r"mine\.yaml") as refused:
        load_scenario(path)
    assert message in str(refused.value)


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="cannot be read: No such file"):
        load_scenario(tmp_path / "none.yaml")


def test_the_presets_are_those_of_the_documentation() -> None:
    assert preset_names() == (
        "onboard-1000", "reconnect-storm", "renewal-herd", "reprovision-two-hubs", "soak", "steady-telemetry",
    )  # fmt: skip


@pytest.mark.parametrize("name", preset_names())
def test_preset_is_a_scenario_of_its_name_that_ends_and_expects_something(name: str) -> None:
    scenario = preset(name)
    assert scenario.name == name
    assert scenario.description
    assert scenario.thresholds
    telemetry = scenario.behaviour.telemetry
    assert scenario.duration_seconds or telemetry is None or telemetry.messages


def test_preset_takes_other_values() -> None:
    assert preset("onboard-1000", {"devices": 5}).devices == 5


def test_unknown_preset_is_told_with_those_there_are() -> None:
    with pytest.raises(ScenarioError, match="no preset has this name: onboard-1000, "):
        preset_text("onboard-1001")


# --- which devices faults happen to ---


def test_fault_happens_to_its_share_of_the_devices_and_always_to_the_same() -> None:
    hit = [device for device in range(10_000) if is_hit("power_loss", 0.1, device, seed=1)]
    assert 900 < len(hit) < 1_100
    assert hit == [device for device in range(10_000) if is_hit("power_loss", 0.1, device, seed=1)]


def test_another_seed_and_another_fault_hit_other_devices() -> None:
    def hit(fault: str, seed: int) -> set[int]:
        return {device for device in range(1_000) if is_hit(fault, 0.5, device, seed)}

    assert len({frozenset(hit(fault, seed)) for fault in ("power_loss", "key_reuse") for seed in (1, 2)}) == 4


def test_share_of_nothing_hits_none_and_of_all_hits_all() -> None:
    assert not any(is_hit("key_reuse", 0, device, seed=1) for device in range(100))
    assert all(is_hit("key_reuse", 1, device, seed=1) for device in range(100))
