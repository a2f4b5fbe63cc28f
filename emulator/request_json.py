"""JSON that comes with a request to the control API, in its body or its query."""

import json
from collections.abc import Mapping

from aiohttp import web


class BadRequest(ValueError):
    """A query parameter or the body is not what it should be."""


async def read_json(request: web.Request) -> object:
    """Read a body, UTF-8 whatever charset it claims (RFC 8259 §8.1).

    Raises:
        BadRequest: it is no JSON, or does not come as `application/json`, which a web page cannot send unasked.
    """
    if request.content_type != "application/json":
        raise BadRequest(f"the body must be application/json, not {request.content_type[:80]}")
    try:
        return json.loads((await request.read()).decode())
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from error


def parse_positions(text: str, example: Mapping[str, int]) -> dict[str, int]:
    """Read where the streams go on, a JSON object of whole numbers from 0.

    Raises:
        BadRequest: it is something else; the message shows the example.
    """
    try:
        positions = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"from: {error}") from error
    if not isinstance(positions, dict) or not all(type(each) is int and each >= 0 for each in positions.values()):
        raise BadRequest(f"from: must be a JSON object such as {json.dumps(example)}")
    return positions
