"""The control API: plain HTTP on loopback only, for health, connection data, events, CA certificates and hubs."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding

from emulator.bootstrap import Resources
from emulator.events import read_events
from emulator.http_log import request_logger
from emulator.hub_rest.api import HubRest
from emulator.request_json import BadRequest, parse_positions
from emulator.visitor import refuse_visitor

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

logger = logging.getLogger("emulator")

# How long requests under way may take when the process stops: a method call may wait for five minutes.
STOP_SECONDS = 1.0


class ControlFront:
    """The control API's listener.

    Args:
        health: tells what `GET /health` answers.
        information: tells what `GET /info` answers.
        resources: what the rest of the API shows.
        hub_rest: serves the hubs under `/hubs/{hub}/`.
        routes: what others serve here.
    """

    def __init__(
        self,
        health: Callable[[], Mapping[str, Any]],
        information: Callable[[], Mapping[str, Any]],
        resources: Resources,
        hub_rest: HubRest,
        routes: Sequence[web.RouteDef] = (),
    ) -> None:
        self._health = health
        self._information = information
        self._resources = resources
        self._hub_rest = hub_rest
        self._routes = routes
        self._own_hosts = _host_names(resources)
        self._runner = web.AppRunner(
            self._application(), access_log=None, logger=request_logger, shutdown_timeout=STOP_SECONDS
        )

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[_tell_refusals, self._refuse_visitors])
        application.router.add_get("/health", self._get_health)
        application.router.add_get("/info", self._get_information)
        application.router.add_get("/events", self._get_events)
        application.router.add_get("/ca.pem", self._get_server_ca)
        application.router.add_route("*", "/hubs/{hub}/{path:.*}", self._hub_rest.serve_local)
        application.router.add_routes(self._routes)
        return application

    @web.middleware
    async def _refuse_visitors(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Let no web page of another origin in, whatever it asks for."""
        reason = refuse_visitor(request.headers, self._own_hosts)
        if reason is not None:
            logger.warning("%s %s: refused: %s", request.method, request.path[:200], reason)
            raise web.HTTPForbidden(text=f"{reason}\n")
        return await handler(request)

    async def listen(self, address: str, port: int) -> int:
        """Bind to a loopback address and return the port.

        Raises:
            ValueError: the address is not a loopback address: whoever reaches this API owns the emulator.
            OSError: it cannot be bound.
        """
        if not ip_address(address).is_loopback:
            raise ValueError(f"the control API binds to loopback addresses only, not to {address}")
        await self._runner.setup()
        await web.TCPSite(self._runner, address, port).start()
        bound: int = self._runner.addresses[0][1]
        return bound

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _get_health(self, _request: web.Request) -> web.Response:
        return web.json_response(dict(self._health()))

    async def _get_information(self, _request: web.Request) -> web.Response:
        return web.json_response(dict(self._information()))

    async def _get_events(self, request: web.Request) -> web.Response:
        positions = parse_positions(request.query.get("from", "{}"), {"hub1/0": 12})
        page = read_events(self._resources.hubs, positions, request.query.get("device"))
        return web.json_response({"events": page.events, "positions": dict(page.positions)})

    async def _get_server_ca(self, _request: web.Request) -> web.Response:
        pem = self._resources.server_ca.public_bytes(Encoding.PEM)
        return web.Response(body=pem, content_type="application/x-pem-file")


def _host_names(resources: Resources) -> frozenset[str]:
    names = {name for each in resources.dps for name in each.settings.host_names}
    for hub in resources.hubs:
        names |= {hub.settings.host_name, *hub.settings.aliases}
    return frozenset(name.lower() for name in names)


@web.middleware
async def _tell_refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what is refused anywhere on this API with `{"error": "…"}`: unknown paths and methods, long bodies too."""
    try:
        return await handler(request)
    except BadRequest as error:
        return web.json_response({"error": str(error)}, status=400)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        allowed = {name: value for name, value in error.headers.items() if name == "Allow"}
        return web.json_response({"error": (error.text or error.reason).strip()}, status=error.status, headers=allowed)
