import json
from pathlib import Path
from typing import Any

import pytest

from hub.property_bag import PropertyBagError, format_property_bag, parse_property_bag

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "hub_property_bags.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", [pytest.param(vector, id=vector["id"]) for vector in VECTORS])
def test_bag_reads_as_the_vector_says(vector: dict[str, Any]) -> None:
    if vector["expect"] is None:
        with pytest.raises(PropertyBagError):
            parse_property_bag(vector["input"])
    else:
        assert parse_property_bag(vector["input"]) == vector["expect"]


def test_format_encodes_all_but_unreserved_characters() -> None:
    bag = {"$.to": "/devices/d/messages/deviceBound", "a b": "", "-._~9": None}
    assert format_property_bag(bag) == "%24.to=%2Fdevices%2Fd%2Fmessages%2FdeviceBound&a%20b=&-._~9"
