"""The HTTPS front: MQTT over WebSocket, and the REST APIs."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aiohttp import web
from OpenSSL import SSL

from broker.connection import Connection
from broker.tls import FileRoom, TlsServer
from broker.websocket import PATHS, is_upgrade, serve_websocket
from emulator.http_log import request_logger

logger = logging.getLogger("emulator")

# How long a client may take from its connection, or from an answer, to its next complete request head (assumed).
IDLE_SECONDS: Final = 120.0
# How long it may take from there to the end of the request's body (assumed).
BODY_SECONDS: Final = 60.0
# How long it may take nothing of an answer (assumed).
UNREAD_SECONDS: Final = 60.0

# A REST API: answers a request, or None when its path is none of its own.
Api = Callable[[web.BaseRequest], Awaitable[web.StreamResponse | None]]


class HttpsFront:
    """One HTTPS listener on our TLS transport.

    Args:
        context: TLS with the server's certificates.
        connection: makes the protocol of an MQTT client that comes over a WebSocket.
        apis: the REST APIs, asked in this order.
        idle_seconds: how long a connection may be without a complete request head.
        body_seconds: how long the body of a request may take.
        unread_seconds: how long a client may take nothing of an answer.
        room: tells which client there is room for; listeners of one process share it.
    """

    def __init__(
        self,
        context: SSL.Context,
        connection: Callable[[], Connection],
        apis: Sequence[Api] = (),
        *,
        idle_seconds: float = IDLE_SECONDS,
        body_seconds: float = BODY_SECONDS,
        unread_seconds: float = UNREAD_SECONDS,
        room: FileRoom | None = None,
    ) -> None:
        self._connection = connection
        self._apis = apis
        self._body_seconds = body_seconds
        # aiohttp's own time for the next request, and for the first one, is an hour.
        self._web = web.Server(self._handle, access_log=None, logger=request_logger, keepalive_timeout=idle_seconds)
        self.tls = TlsServer(context, self._web, unread_seconds=unread_seconds, room=room)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if is_upgrade(request) and request.path in PATHS:
            return await serve_websocket(request, self._connection)
        timer = asyncio.get_running_loop().call_later(self._body_seconds, self._end_slow_body, request)
        try:
            return await self._answer(request)
        finally:
            timer.cancel()

    def _end_slow_body(self, request: web.BaseRequest) -> None:
        if request.content.is_eof() or request.transport is None:
            return  # it is the answer that takes its time
        logger.warning("%s: closed: no end of its request within %g s", request.remote, self._body_seconds)
        request.transport.abort()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        for api in self._apis:
            response = await api(request)
            if response is not None:
                return response
        return web.json_response(
            {"Message": f"ErrorCode:GenericNotFound;no API at {request.path}", "ExceptionMessage": ""}, status=404
        )

    async def close(self) -> None:
        """Stop listening and end the requests under way."""
        await self.tls.close()
        await asyncio.wait_for(self._web.shutdown(timeout=1), timeout=5)
