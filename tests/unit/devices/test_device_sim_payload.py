import json
from datetime import UTC, datetime

import pytest

from device_sim.payload import Payloads, of_size
from device_sim.scenario_behaviour import Telemetry

NOW = datetime(2026, 11, 23, 12, 30, 5, 250_000, tzinfo=UTC)


def payloads(**telemetry: object) -> Payloads:
    return Payloads(Telemetry.model_validate({"messages": 1, **telemetry}), lambda: NOW, lambda device, number: 0.5)


@pytest.mark.parametrize("size", [1, 12, 13, 14, 64, 262_144])
def test_message_has_its_size(size: int) -> None:
    assert len(payloads(size_bytes=size).message(0, "sim", 1)) == size


def test_message_with_room_for_it_is_json() -> None:
    assert json.loads(of_size(40)) == {"data": "x" * 28}


def test_template_is_filled_in() -> None:
    text = payloads(template="$number/$device_id/$message/$time/$random/$$").message(7, "sim-7", 3).decode()
    assert text == "7/sim-7/3/2026-11-23T12:30:05.250000Z/0.500000/$"
