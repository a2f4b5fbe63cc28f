"""The HTTPS front: MQTT over WebSocket now, the REST APIs as they come."""

import asyncio
from collections.abc import Callable

from aiohttp import web
from OpenSSL import SSL

from broker.connection import Connection
from broker.tls import TlsServer
from broker.websocket import PATHS, is_upgrade, serve_websocket


class HttpsFront:
    """One HTTPS listener on our TLS transport.

    Args:
        context: TLS with the server's certificates.
        connection: makes the protocol of an MQTT client that comes over a WebSocket.
    """

    def __init__(self, context: SSL.Context, connection: Callable[[], Connection]) -> None:
        self._connection = connection
        self._web = web.Server(self._handle, access_log=None)
        self.tls = TlsServer(context, self._web)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if is_upgrade(request) and request.path in PATHS:
            return await serve_websocket(request, self._connection)
        return web.json_response(
            {"Message": f"ErrorCode:GenericNotFound;no API at {request.path}", "ExceptionMessage": ""}, status=404
        )

    async def close(self) -> None:
        """Stop listening and end the requests under way."""
        await self.tls.close()
        await asyncio.wait_for(self._web.shutdown(timeout=1), timeout=5)
