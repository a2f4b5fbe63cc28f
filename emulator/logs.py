"""The process's log: one line an event, readable in a terminal and in a file."""

import logging
import sys

from rich.console import Console
from rich.logging import RichHandler

ROOMS = ("adr", "broker", "certs", "device_sim", "dps", "emulator", "hub")


def configure_logging(*, verbose: bool) -> None:
    """Send the rooms' logs to standard error; other libraries only from warnings on."""
    handler: logging.Handler
    if sys.stderr.isatty():
        handler = RichHandler(
            console=Console(stderr=True), show_path=False, log_time_format="%H:%M:%S", rich_tracebacks=False
        )
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    # What a record carries and our formats do not show (logging HOWTO, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for room in ROOMS:
        logging.getLogger(room).setLevel(logging.DEBUG if verbose else logging.INFO)
