"""The HTTPS front: MQTT over WebSocket, and the REST APIs."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from OpenSSL import SSL

from broker.connection import Connection
from broker.tls import TlsServer
from broker.websocket import PATHS, is_upgrade, serve_websocket

# A REST API: answers a request, or None when its path is none of its own.
Api = Callable[[web.BaseRequest], Awaitable[web.StreamResponse | None]]


class HttpsFront:
    """One HTTPS listener on our TLS transport.

    Args:
        context: TLS with the server's certificates.
        connection: makes the protocol of an MQTT client that comes over a WebSocket.
        apis: the REST APIs, asked in this order.
    """

    def __init__(self, context: SSL.Context, connection: Callable[[], Connection], apis: Sequence[Api] = ()) -> None:
        self._connection = connection
        self._apis = apis
        self._web = web.Server(self._handle, access_log=None)
        self.tls = TlsServer(context, self._web)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if is_upgrade(request) and request.path in PATHS:
            return await serve_websocket(request, self._connection)
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
