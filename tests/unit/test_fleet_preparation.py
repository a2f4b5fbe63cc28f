from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from device_sim.fleet_part import FleetPart
from device_sim.scenario import Scenario
from emulator.commands.endpoint import Endpoint
from emulator.commands.fleet_preparation import Prepared, prepare_part
from emulator.commands.options import CommandFailed

NO_ENDPOINT: Any = None  # individual keys take nothing from it


@pytest.fixture
def console() -> Console:
    return Console(file=StringIO(), width=200)


def individual(tmp_path: Path, *registration_ids: str, **settings: Any) -> Scenario:
    file = tmp_path / "keys.csv"
    file.write_text("".join(f"{each},c2VjcmV0\n" for each in registration_ids))
    credential = {"kind": "individual-keys", "file": str(file)}
    return Scenario.model_validate({"devices": len(registration_ids), "credential": credential, **settings})


def prepare(scenario: Scenario, console: Console, part: FleetPart | None = None) -> Prepared:
    endpoint: Endpoint = NO_ENDPOINT
    return prepare_part(scenario, part or FleetPart(0, 1), endpoint, console)


def test_each_device_of_a_part_has_a_key_and_a_signed_request_before_the_run(tmp_path: Path, console: Console) -> None:
    scenario, part = individual(tmp_path, "a", "b", "c", "d", "e"), FleetPart(1, 2)
    prepared = prepare(scenario, console, part)
    first = part.first_device(5)
    names = [each.registration_id for each in prepared.credentials]
    keys = [prepared.keys.key(first + number) for number in range(len(names))]
    assert names == ["a", "b", "c", "d", "e"][first : first + part.devices(5)]
    assert [key.common_name for key in keys] == names
    assert all(key.csr and key.tls is not None for key in keys)
    assert len({id(key.private) for key in keys}) == len(names)
    others = [prepared.keys.key(number) for number in range(5) if not first <= number < first + len(names)]
    assert not any(key.csr for key in others), "another part's to make"


def test_fleet_that_wants_no_certificates_has_no_keys_made(tmp_path: Path, console: Console) -> None:
    prepared = prepare(individual(tmp_path, "a", csr=False), console)
    assert prepared.keys.key(0).csr == ""
    assert isinstance(console.file, StringIO)
    assert "keys for CSRs" not in console.file.getvalue()


@pytest.mark.parametrize(("length", "csr"), [(64, True), (65, False)])
def test_registration_id_that_a_certificate_can_carry_or_needs_not_is_taken(
    length: int, csr: bool, tmp_path: Path, console: Console
) -> None:
    assert len(prepare(individual(tmp_path, "x" * length, csr=csr), console).credentials) == 1


def test_registration_id_that_no_certificate_can_carry_is_refused_before_the_run(
    tmp_path: Path, console: Console
) -> None:
    with pytest.raises(CommandFailed, match=r"'x{65}' has 65 characters: .* at most 64 \(csr: false asks for none\)"):
        prepare(individual(tmp_path, "a", "x" * 65), console)
    assert isinstance(console.file, StringIO)
    assert console.file.getvalue() == "", "no key was made for it"
