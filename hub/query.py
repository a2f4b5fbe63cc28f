"""The query language over twins: `SELECT * FROM devices [WHERE …]`, read into a predicate.

The grammar, for editing: condition = term {OR term}; term = factor {AND factor}; factor = NOT factor | ( condition ) |
is_defined(path) | path operator literal | path IN [literal, …]. Paths are names joined by dots.
Source: iot-hub-devguide-query-language.md (documented). Projections, aggregates and GROUP BY are not offered.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hub.errors import ArgumentInvalid

Predicate = Callable[[Mapping[str, Any]], bool]

MAX_QUERY_CHARACTERS: Final = 4096
MAX_DEPTH: Final = 50
TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
    r"|(?P<word>[A-Za-z_$][A-Za-z0-9_$\-]*)|(?P<sign><=|>=|!=|<>|[=<>()\[\],.*]))"
)
_MISSING: Final = object()


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Compare numbers with numbers and texts with texts, and nothing else."""

    def check(value: Any, literal: Any) -> bool:
        numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (value, literal))
        return (numbers or (isinstance(value, str) and isinstance(literal, str))) and compare(value, literal)

    return check


def _equal(value: Any, literal: Any) -> bool:
    return isinstance(value, bool) is isinstance(literal, bool) and bool(value == literal)


OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": _equal,
    "!=": lambda value, literal: not _equal(value, literal),
    "<>": lambda value, literal: not _equal(value, literal),
    "<": _ordered(operator.lt),
    ">": _ordered(operator.gt),
    "<=": _ordered(operator.le),
    ">=": _ordered(operator.ge),
}
LITERAL_WORDS: Final = {"true": True, "false": False, "null": None}


@dataclass(frozen=True, slots=True)
class Query:
    """A query that was read: `matches` decides on a twin, `device_id` is the only one that can match, if so."""

    source: str
    matches: Predicate
    device_id: str | None = None


def parse_query(text: str) -> Query:
    """Read a query over `devices` or `devices.modules`.

    Raises:
        ArgumentInvalid: it is malformed, or asks for more than is offered.
    """
    if len(text) > MAX_QUERY_CHARACTERS:
        raise ArgumentInvalid(f"the query has {len(text)} characters, it may have {MAX_QUERY_CHARACTERS}")
    return _Reader(_tokenize(text)).query()


def find(document: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """Find the value at a path, a private sentinel when there is none."""
    value: Any = document
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return _MISSING
        value = value[name]
    return value


def _tokenize(text: str) -> list[tuple[str, str]]:
    tokens, position, end = [], 0, len(text.rstrip())
    while position < end:
        match = TOKEN.match(text, position)
        if match is None:
            raise ArgumentInvalid(f"the query cannot be read at {text[position : position + 40]!r}")
        kind = str(match.lastgroup)
        tokens.append((kind, match.group(kind)))
        position = match.end()
    return tokens


class _Reader:
    """Reads tokens from left to right."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._position = 0
        self._depth = 0
        self._device_id: str | None = None

    def query(self) -> Query:
        self._expect("SELECT")
        self._expect("*")
        self._expect("FROM")
        source = ".".join(self._path())
        if source not in ("devices", "devices.modules"):
            raise ArgumentInvalid(f"FROM {source[:64]}: the sources are devices and devices.modules")
        matches: Predicate = _always
        if self._accept("WHERE"):
            matches = self._condition()
        if self._position < len(self._tokens):
            raise self._unexpected("the end")
        return Query(source, matches, self._only_device())

    def _only_device(self) -> str | None:
        """Recognise `WHERE deviceId = '…'` alone, which needs no search."""
        is_plain = [word.lower() for _, word in self._tokens[4:7]] == ["where", "deviceid", "="]
        return self._device_id if is_plain and len(self._tokens) == 8 else None

    def _condition(self) -> Predicate:
        return self._joined("OR", self._term, any)

    def _term(self) -> Predicate:
        return self._joined("AND", self._factor, all)

    def _joined(self, word: str, part: Callable[[], Predicate], decide: Callable[[list[bool]], bool]) -> Predicate:
        parts = [part()]
        while self._accept(word):
            parts.append(part())
        if len(parts) == 1:
            return parts[0]
        return lambda twin: decide([each(twin) for each in parts])

    def _factor(self) -> Predicate:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ArgumentInvalid(f"the query nests deeper than {MAX_DEPTH}")
        try:
            return self._nested_factor()
        finally:
            self._depth -= 1

    def _nested_factor(self) -> Predicate:
        if self._accept("NOT"):
            negated = self._factor()
            return lambda twin: not negated(twin)
        if self._accept("("):
            inner = self._condition()
            self._expect(")")
            return inner
        if self._accept("is_defined"):
            self._expect("(")
            defined = self._path()
            self._expect(")")
            return lambda twin: find(twin, defined) is not _MISSING
        return self._comparison()

    def _comparison(self) -> Predicate:
        path = self._path()
        if self._accept("IN"):
            return self._member(path, is_in=True)
        if self._accept("NIN"):
            return self._member(path, is_in=False)
        kind, sign = self._next()
        compare = OPERATORS.get(sign) if kind == "sign" else None
        if compare is None:
            raise ArgumentInvalid(f"{sign[:40]!r} is none of the operators {sorted(OPERATORS)}, IN, NIN")
        literal = self._literal()
        if path == ("deviceId",) and sign == "=" and isinstance(literal, str):
            self._device_id = literal
        return lambda twin: (value := find(twin, path)) is not _MISSING and compare(value, literal)

    def _member(self, path: tuple[str, ...], *, is_in: bool) -> Predicate:
        self._expect("[")
        literals = [self._literal()]
        while self._accept(","):
            literals.append(self._literal())
        self._expect("]")

        def decide(twin: Mapping[str, Any]) -> bool:
            value = find(twin, path)
            return value is not _MISSING and any(_equal(value, literal) for literal in literals) is is_in

        return decide

    def _path(self) -> tuple[str, ...]:
        names = [self._name()]
        while self._accept("."):
            names.append(self._name())
        return tuple(names)

    def _name(self) -> str:
        kind, word = self._next()
        if kind != "word":
            raise ArgumentInvalid(f"the query has {word[:40]!r} where a name must be")
        return word

    def _literal(self) -> Any:
        kind, word = self._next()
        if kind == "string":
            return re.sub(r"\\(.)", r"\1", word[1:-1])
        if kind == "number":
            return float(word) if set(word) & set(".eE") else int(word)
        if word.lower() in LITERAL_WORDS:
            return LITERAL_WORDS[word.lower()]
        raise ArgumentInvalid(f"the query has {word[:40]!r} where a value must be")

    def _next(self) -> tuple[str, str]:
        if self._position == len(self._tokens):
            raise ArgumentInvalid("the query ends too early")
        self._position += 1
        return self._tokens[self._position - 1]

    def _accept(self, word: str) -> bool:
        if self._position < len(self._tokens):
            kind, found = self._tokens[self._position]
            if kind in ("word", "sign") and found.lower() == word.lower():
                self._position += 1
                return True
        return False

    def _expect(self, word: str) -> None:
        if not self._accept(word):
            raise self._unexpected(word)

    def _unexpected(self, wanted: str) -> ArgumentInvalid:
        rest = self._tokens[self._position][1][:40] if self._position < len(self._tokens) else "nothing"
        return ArgumentInvalid(f"the query has {rest!r} where {wanted} must be")


def _always(_twin: Mapping[str, Any]) -> bool:
    return True
