"""The log of the HTTP servers: a client's mistake is one line, and only our own failures have a traceback."""

import logging

from aiohttp.http_exceptions import HttpProcessingError

MAX_REASON_CHARACTERS = 200


def brief(record: logging.LogRecord) -> bool:
    """Write what aiohttp says of a malformed request as a warning of one line; keep every record."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        reason = " ".join(error.message.split())[:MAX_REASON_CHARACTERS]
        record.msg, record.args = f"{record.getMessage()}: malformed: %s", (reason,)
        record.exc_info = None
        record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
    return True


request_logger = logging.getLogger("emulator.http")
request_logger.addFilter(brief)
