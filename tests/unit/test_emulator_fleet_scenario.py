from pathlib import Path

import pytest

from certs.keys import KeyType
from device_sim.arrival import ConstantRate
from device_sim.scenario import preset
from emulator.commands.fleet_scenario import read_scenario
from emulator.config import ConfigError


@pytest.fixture
def scenario_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\ndevices: 5\nkeys: my.pool\nbehaviour:\n  telemetry:\n    messages: 3\n")
    return path


def test_without_a_name_the_defaults_are_changed() -> None:
    scenario = read_scenario(None, {"devices": 3}, [])
    assert (scenario.devices, scenario.name) == (3, "fleet")


def test_preset_is_found_by_its_name() -> None:
    assert read_scenario("soak", {}, []) == preset("soak")


def test_file_is_read_and_what_it_names_is_looked_for_beside_it(scenario_file: Path) -> None:
    scenario = read_scenario(str(scenario_file), {}, [])
    assert scenario.name == "mine"
    assert scenario.keys == scenario_file.parent / "my.pool"


def test_flags_win_over_the_file_and_settings_over_both(scenario_file: Path) -> None:
    scenario = read_scenario(str(scenario_file), {"devices": 6, "seed": 7}, ["devices=8", "key_type=P-384"])
    assert (scenario.devices, scenario.seed, scenario.key_type) == (8, 7, KeyType.P384)


def test_setting_reaches_into_sections_and_makes_them(scenario_file: Path) -> None:
    scenario = read_scenario(
        str(scenario_file),
        {},
        [
            "behaviour.telemetry.size_bytes=100",
            "arrival={kind: rate, per_second: 5}",
            "device_faults.wrong_clock={share: 1, offset_seconds: 60}",
        ],
    )
    assert scenario.behaviour.telemetry is not None
    assert (scenario.behaviour.telemetry.messages, scenario.behaviour.telemetry.size_bytes) == (3, 100)
    assert scenario.arrival == ConstantRate(kind="rate", per_second=5)
    assert scenario.device_faults.wrong_clock is not None


def test_setting_takes_a_value_away() -> None:
    scenario = read_scenario("steady-telemetry", {}, ["duration_seconds=null", "thresholds=[]"])
    assert (scenario.duration_seconds, scenario.thresholds) == (None, ())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["devices"], "--set devices: must be key=value"),
        (["=5"], "--set =5: must be key=value"),
        (["a..b=5"], "--set a..b=5: must be key=value"),
        (["devices=[1"], "--set devices=[1: not valid YAML"),
        (["devices.more=1"], "devices.more: 'more' would be inside what is no section"),
        (["devcies=1"], "devcies: unknown key, did you mean 'devices'?"),
        (["devices=0"], "devices: must be greater than or equal to 1, not 0"),
    ],
)
def test_setting_that_cannot_be_used_is_told(settings: list[str], message: str, scenario_file: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        read_scenario(str(scenario_file), {}, settings)
    assert message in str(refused.value)


def test_mistake_in_a_file_is_told_with_its_line(scenario_file: Path) -> None:
    scenario_file.write_text("name: mine\ndevices: 5\nbehaviour:\n  telemetry:\n    mesages: 3\n")
    with pytest.raises(ConfigError) as refused:
        read_scenario(str(scenario_file), {}, [])
    assert "line 5: behaviour.telemetry.mesages: unknown key, did you mean 'messages'?" in str(refused.value)


def test_mistake_of_the_command_line_has_no_line_of_the_file(scenario_file: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        read_scenario(str(scenario_file), {"devices": 0}, [])
    assert str(refused.value).splitlines()[1] == "  devices: must be greater than or equal to 1, not 0"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: a\nname: b\n", "line 2: key 'name' is there already on line 1"),
        (b"\xff", "is not UTF-8 at byte 0"),
        (b"- 1\n", "must be a mapping (key: value), not a list"),
    ],
)
def test_file_that_is_no_scenario_is_refused(content: bytes, message: str, scenario_file: Path) -> None:
    scenario_file.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        read_scenario(str(scenario_file), {}, [])
    assert message in str(refused.value)


def test_list_cannot_be_changed_by_a_setting(scenario_file: Path) -> None:
    scenario_file.write_text("- 1\n")
    with pytest.raises(ConfigError, match="'devices' would be inside what is no section"):
        read_scenario(str(scenario_file), {"devices": 1}, [])


def test_empty_file_is_a_scenario_of_defaults(scenario_file: Path) -> None:
    scenario_file.write_text("")
    assert read_scenario(str(scenario_file), {}, []) == read_scenario(None, {}, [])


def test_name_of_nothing_is_told_with_the_preset_that_was_meant(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"onboard-100: .*\n  neither a file nor a preset: did you mean 'onboard-1000'"
    ):
        read_scenario("onboard-100", {}, [])
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_scenario(str(tmp_path), {}, [])
