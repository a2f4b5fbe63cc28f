import json
from pathlib import Path
from typing import Any

import pytest

from adr.errors import NameInvalid
from adr.namespace import parse_namespace_name
from adr.policy import parse_policy_name

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "adr_names.json").read_text(encoding="utf-8"))
PARSERS = {"namespace": parse_namespace_name, "policy": parse_policy_name}


@pytest.mark.parametrize("vector", [pytest.param(vector, id=vector["id"]) for vector in VECTORS])
def test_name_is_accepted_as_the_vector_says(vector: dict[str, Any]) -> None:
    parse, name = PARSERS[vector["input"]["kind"]], vector["input"]["name"]
    if vector["expect"]:
        assert parse(name) == name
    else:
        with pytest.raises(NameInvalid) as refusal:
            parse(name)
        assert repr(name) in str(refusal.value)
