"""Writes docs/assumed.md: every behaviour that no source of Azure's confirms, as the code itself says it.

Run by `make docs`; `tests/unit/test_docs.py` fails when the page and the code differ.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "assumed.md"
ROOMS = ("adr", "broker", "certs", "dps", "hub", "emulator", "device_sim")
MARK = "assumed"

HEAD = """# What is assumed

Azure's documentation and its SDKs leave these open, so hublet chose. A client should not depend on them; whoever has
seen the real service do otherwise, please tell. Written by `make docs` from the word *assumed* in the code.
"""


def render() -> str:
    """Return the page."""
    lines = [HEAD]
    for room in ROOMS:
        found = [line for path in sorted((REPOSITORY / room).rglob("*.py")) for line in _assumptions(path)]
        if found:
            lines += [f"\n## {room}\n", *found]
    return "\n".join(lines) + "\n"


def _assumptions(path: Path) -> Iterator[str]:
    text = path.read_text()
    owners = _owners(ast.parse(text))
    for line, paragraph in sorted([*_docstrings(text), *_comments(text)]):
        if MARK in paragraph:
            yield f"- `{_place(path, owners, line)}`: {paragraph}"


def _place(path: Path, owners: list[tuple[int, int, str]], line: int) -> str:
    inside = [name for first, last, name in owners if first <= line <= last]
    module = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
    return ".".join([module.removesuffix(".__init__"), *inside])


def _owners(tree: ast.AST) -> list[tuple[int, int, str]]:
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    return sorted((node.lineno, node.end_lineno or node.lineno, node.name) for node in nodes)


def _docstrings(text: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        docstring = ast.get_docstring(node)
        line = node.body[0].lineno if node.body else 1
        summary, *rest = [" ".join(each.split()) for each in (docstring or "").split("\n\n")]
        yield line, summary
        for paragraph in rest:
            yield line, f"{summary} {paragraph}" if paragraph.startswith("Source:") else paragraph


def _comments(text: str) -> Iterator[tuple[int, str]]:
    """Yield each block of comments, with the line of code it stands over."""
    lines = text.splitlines()
    block: list[str] = []
    for number, line in enumerate(lines, start=1):
        if line.lstrip().startswith("#"):
            block.append(line.strip(" #"))
        elif block:
            yield number, f"{' '.join(block)} `{line.strip()}`"
            block = []


if __name__ == "__main__":
    PAGE.write_text(render())
    sys.stdout.write(f"{PAGE.relative_to(REPOSITORY)} written\n")
