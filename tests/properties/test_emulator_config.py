"""Whatever stands in the file, reading it yields a configuration or a ConfigError that can be read."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from emulator.config import Config, ConfigError, load_config
from emulator.yaml_document import YamlError, parse_yaml

WORDS = """namespaces hubs dps ports bind_addresses host_names strict quirks policies default validity_days host_name
aliases namespace partitions id_scope linked_hubs enrollment_groups individual_enrollments ca symmetric_key
certificate primary credential_policy allocation mqtt hub1 line-1 unknown"""
KEYS = st.sampled_from(WORDS.split())
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]))
    | st.sampled_from(["default", "localhost", "dev-ca", "generate", "0ne0012ABCD", "127.0.0.1", "hub1"])
)
DOCUMENTS: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=20
)


def assert_read_or_refused(content: bytes) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "hublet.yaml"
        path.write_bytes(content)
        try:
            assert isinstance(load_config(path), Config)
        except ConfigError as error:
            assert error.problems
            assert "pydantic" not in str(error)
            assert "type=" not in str(error)


@given(DOCUMENTS)
def test_any_yaml_is_read_or_refused(document: Any) -> None:
    assert_read_or_refused(yaml.safe_dump(document, allow_unicode=True, sort_keys=False).encode())


@given(st.binary())
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    assert_read_or_refused(content)


@given(st.text(st.sampled_from("a1:-?[]{}#&*!|>'\"%@`,. \n\t<=~")))
def test_any_text_of_yamls_signs_is_read_or_refused(text: str) -> None:
    try:
        parse_yaml(text)
    except YamlError as error:
        assert str(error)
