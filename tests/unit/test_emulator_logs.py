"""One event, one line: whatever a client put into its names."""

import logging
import sys

import pytest

from emulator.logs import MAX_MESSAGE_CHARACTERS, LineFormatter


def line_of(message: str, *args: object, exc_info: object = None) -> str:
    record = logging.LogRecord("hub", logging.WARNING, __file__, 1, message, args, exc_info)  # type: ignore[arg-type]
    return LineFormatter("%(levelname)s %(name)s: %(message)s").format(record)


@pytest.mark.parametrize(
    ("client_id", "written"),
    [
        ("a\n2026-11-27 WARNING hub: device b: connected", "a\\n2026-11-27 WARNING hub: device b: connected"),
        ("a\r\tb", "a\\r\\tb"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\u2028\u202e", "\\u2028\\u202e"),
        ("Größe 1–3 …", "Größe 1–3 …"),
    ],
)
def test_what_is_not_printable_is_escaped(client_id: str, written: str) -> None:
    """A line break would forge an event, and an escape sequence would reach the terminal."""
    assert line_of("device %s: refused", client_id) == f"WARNING hub: device {written}: refused"


def test_long_message_is_cut_and_tells_its_length() -> None:
    line = line_of("device %s: refused", "x" * 60_000)
    assert len(line) < MAX_MESSAGE_CHARACTERS + 100
    assert line.endswith("… (60016 characters)")


def test_traceback_keeps_its_lines() -> None:
    try:
        int("why")
    except ValueError:
        lines = line_of("failed", exc_info=sys.exc_info()).splitlines()
    assert lines[0] == "WARNING hub: failed"
    assert lines[-1].startswith("ValueError: ")
