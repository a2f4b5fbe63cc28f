import pytest

from emulator.yaml_document import YamlError, parse_yaml

TEXT = """\
# a comment
hubs:
  hub1:
    host_name: localhost
    aliases:
      - a.localhost
      - b.localhost
  2:
    host_name: x
"""


def test_plain_values_are_read() -> None:
    value = parse_yaml("a: [1, 2.5, true, null, text]\nb: {c: '1'}").value
    assert value == {"a": [1, 2.5, True, None, "text"], "b": {"c": "1"}}


def test_empty_document_is_none() -> None:
    document = parse_yaml("# nothing but a comment\n")
    assert document.value is None
    assert document.line_of(("a",)) == 0


def test_date_stays_a_text() -> None:
    assert parse_yaml("a: 2026-99-99").value == {"a": "2026-99-99"}


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("hubs",), 2),
        (("hubs", "hub1", "host_name"), 4),
        (("hubs", "hub1", "aliases", 1), 7),
        (("hubs", 2, "host_name"), 9),
        (("hubs", "2", "host_name"), 9),
        (("hubs", "hub1", "absent"), 3),
        (("hubs", "hub1", "aliases", 9), 5),
        (("hubs", "hub1", "host_name", "deeper"), 4),
        ((), 0),
    ],
)
def test_line_of_a_path_is_that_of_its_key_or_of_the_nearest_around_it(path: tuple[str | int, ...], line: int) -> None:
    assert parse_yaml(TEXT).line_of(path) == line


def test_key_that_is_there_twice_is_refused_with_both_lines() -> None:
    with pytest.raises(YamlError, match="key 'a' is there already on line 1") as refusal:
        parse_yaml("a: 1\nb: 2\na: 3\n")
    assert refusal.value.line == 3


def test_key_twice_in_different_mappings_is_fine() -> None:
    assert parse_yaml("a: {x: 1}\nb: {x: 2}").value == {"a": {"x": 1}, "b": {"x": 2}}


def test_anchors_and_merges_are_read() -> None:
    text = "base: &base {x: 1}\nother: &other {y: 2}\nboth:\n  <<: *base\n  z: 3\nmany: {<<: [*base, *other]}\n"
    assert parse_yaml(text).value == {
        "base": {"x": 1},
        "other": {"y": 2},
        "both": {"x": 1, "z": 3},
        "many": {"x": 1, "y": 2},
    }


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [", 1),
        ("a: 1\n b: 2", 2),
        ("--- 1\n--- 2", 2),
        ("a: !!python/name:os.system x", 1),
        ("a: !custom x", 1),
        ("? [a]\n: b", 1),
        ("\x00", 0),
        ("!!bool perhaps", 0),
        ("!!int ''", 0),
        ("!!timestamp soon", 0),
        ("[" * 5000, 0),
    ],
)
def test_what_is_not_plain_yaml_is_refused(text: str, line: int) -> None:
    with pytest.raises(YamlError, match=r"^not valid YAML: ") as refusal:
        parse_yaml(text)
    assert refusal.value.line == line
