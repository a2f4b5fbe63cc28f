"""A YAML file as plain values, with the line on which each of them stands."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

Path = Sequence[str | int]
MERGE = "tag:yaml.org,2002:merge"


class YamlError(ValueError):
    """The text is not YAML that we read; `line` counts from 1, 0 when it is not known."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """A parsed document: `value` is None, a scalar, a list or a dict."""

    value: object
    root: yaml.Node | None

    def line_of(self, path: Path) -> int:
        """Return the line of a key or list element, or of the nearest thing around it that is there; 0 for none."""
        node, line = self.root, 0
        for part in path:
            node, line = _child(node, part, line)
            if node is None:
                break
        return line


class _Loader(yaml.SafeLoader):
    """YAML's plain types, without dates, and with an error for a key that is there twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == MERGE:
                continue
            line = key.start_mark.line + 1
            if key.value in lines:
                raise YamlError(f"key {key.value!r} is there already on line {lines[key.value]}", line)
            lines[key.value] = line
        return super().construct_mapping(node, deep)


# `2026-11-23` stays a text: no field of ours is a date, and an impossible one would be an error of PyYAML's own.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_yaml(text: str) -> YamlDocument:
    """Read one YAML document.

    Raises:
        YamlError: it is not YAML, has a key twice in one mapping, or holds more than plain values.
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        return YamlDocument(None if root is None else loader.construct_document(root), root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise YamlError(f"not valid YAML: {error.problem}", mark.line + 1 if mark else 0) from error
    except RecursionError as error:
        raise YamlError("not valid YAML: nested too deeply") from error
    except YamlError:
        raise
    except (yaml.YAMLError, ValueError, LookupError, AttributeError) as error:
        # PyYAML lets the latter three through when a tag and its text do not fit, as in `!!bool perhaps`.
        raise YamlError(f"not valid YAML: {error}") from error


def _child(node: yaml.Node | None, part: str | int, line: int) -> tuple[yaml.Node | None, int]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return value, key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part].start_mark.line + 1
    return None, line
