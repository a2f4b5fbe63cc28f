"""The process's log: one line an event, readable in a terminal and in a file."""

import logging
import sys

from rich.console import Console
from rich.logging import RichHandler

# What is sent to us is in many messages, so a client could make them as long as a packet (assumed).
MAX_MESSAGE_CHARACTERS = 2000

ROOMS = ("adr", "broker", "certs", "device_sim", "dps", "emulator", "hub")


class LineFormatter(logging.Formatter):
    """Writes a message on one line: what is not printable is escaped, and the rest of a long message is left out.

    Messages hold what clients sent; a line break in a client ID must not pass for an event of another device.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Write the part of a record that comes before a traceback."""
        record.message = _one_line(record.message)
        return super().formatMessage(record)


def _one_line(text: str) -> str:
    if len(text) > MAX_MESSAGE_CHARACTERS:
        text = f"{text[:MAX_MESSAGE_CHARACTERS]}… ({len(text)} characters)"
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def configure_logging(*, verbose: bool) -> None:
    """Send the rooms' logs to standard error; other libraries only from warnings on."""
    handler: logging.Handler
    if sys.stderr.isatty():
        handler = RichHandler(
            console=Console(stderr=True), show_path=False, log_time_format="%H:%M:%S", rich_tracebacks=False
        )
        handler.setFormatter(LineFormatter("%(name)s: %(message)s"))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    # What a record carries and our formats do not show (logging HOWTO, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for room in ROOMS:
        logging.getLogger(room).setLevel(logging.DEBUG if verbose else logging.INFO)
