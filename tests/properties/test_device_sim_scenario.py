from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from device_sim.scenario import Scenario, ScenarioError, parse_scenario, preset, preset_names

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)
KEYS = st.sampled_from(list(Scenario.model_fields))


def _paths(values: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(values, dict):
        return [path]
    return [path, *(found for key, value in values.items() for found in _paths(value, (*path, key)))]


def _with(values: object, path: tuple[str, ...], value: object) -> object:
    if not path:
        return value
    assert isinstance(values, dict)
    return {**values, path[0]: _with(values[path[0]], path[1:], value)}


@given(st.one_of(VALUES, st.dictionaries(st.one_of(KEYS, st.text(max_size=5)), VALUES, max_size=4)))
def test_any_values_are_a_scenario_or_refused_with_their_problems(values: Any) -> None:
    try:
        parse_scenario(values, Path())
    except ScenarioError as error:
        assert error.problems
        assert all(problem.message for problem in error.problems)


@given(st.sampled_from(preset_names()), VALUES, st.data())
def test_any_value_in_the_place_of_one_of_a_preset_is_taken_or_refused(name: str, value: Any, data: Any) -> None:
    whole = yaml.safe_load(preset(name).to_yaml())
    path = data.draw(st.sampled_from(_paths(whole)))
    with suppress(ScenarioError):
        scenario = parse_scenario(_with(whole, path, value), Path())
        assert parse_scenario(yaml.safe_load(scenario.to_yaml()), Path()) == scenario
