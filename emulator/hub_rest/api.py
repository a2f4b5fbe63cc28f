"""One HTTP request to a hub in, its answer out."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from urllib.parse import parse_qsl

from aiohttp import web

from adr.store import StoreError
from emulator.faults.quota import ServiceOperation
from emulator.hub_rest.delivery import Delivery
from emulator.hub_rest.envelopes import error_reply
from emulator.hub_rest.exchange import HubRequest, Received, Reply
from emulator.hub_rest.routes import LOCAL_ROUTES, ROUTES, Match, find_routes, split_path
from hub.errors import (
    ArgumentInvalid,
    GenericMethodNotAllowed,
    GenericNotFound,
    HubError,
    IotHubNotFound,
    MessageTooLarge,
    ServerError,
    ThrottlingException,
)
from hub.hub import Hub

logger = logging.getLogger("emulator")

# Counts a request: a hub's name, what is asked for, of which device, when; gives the seconds it has to wait.
Throttle = Callable[[str, ServiceOperation, str, datetime], float]


class HubRest:
    """The service REST API of all hubs of a process."""

    def __init__(
        self,
        hubs: Sequence[Hub],
        delivery: Delivery,
        now: Callable[[], datetime],
        throttle: Throttle = lambda *_: 0.0,
    ) -> None:
        self._by_name = {hub.settings.name: hub for hub in hubs}
        self._by_host = {host.lower(): hub for hub in hubs for host in (hub.settings.host_name, *hub.settings.aliases)}
        self._delivery = delivery
        self._now = now
        self._throttle = throttle

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse | None:
        """Answer a request on the HTTPS front, None when its path is none of a hub's."""
        try:
            received = await _read(request, request.raw_path)
        except MessageTooLarge as error:
            return _rendered(error_reply(error, self._now()))
        return _response(await self.answer(received))

    async def serve_local(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request on the control API, under `/hubs/{hub}/`."""
        _, _, name, path = [*request.raw_path.split("/", 3), "", ""][:4]
        try:
            received = await _read(request, f"/{path}")
        except MessageTooLarge as error:
            return _rendered(error_reply(error, self._now()))
        return _rendered(await self.answer_local(name, received))

    async def answer(self, received: Received) -> Reply | None:
        """Answer a request that has to show a token; None when its path is none of a hub's."""
        path, _, query = received.path.partition("?")
        try:
            segments = split_path(path)
        except ArgumentInvalid:
            return None
        matches = find_routes(ROUTES, segments)
        if not matches:
            return None
        try:
            match = _choose(matches, received.method)
            hub = self._hub_of_host(received.headers.get("host", ""))
            hub.service_access.check(received.headers.get("authorization"), segments, match.route.right, self._now())
        except HubError as error:
            return self._refuse(received, error)
        return await self._handle(hub, match, received, query)

    async def answer_local(self, hub_name: str, received: Received) -> Reply:
        """Answer a request of somebody who owns the emulator anyway."""
        path, _, query = received.path.partition("?")
        try:
            hub = self._by_name.get(hub_name)
            if hub is None:
                raise IotHubNotFound(f"there is no hub {hub_name[:64]!r}; known: {', '.join(self._by_name)}")
            matches = find_routes((*LOCAL_ROUTES, *ROUTES), split_path(path))
            if not matches:
                raise GenericNotFound(f"hub {hub_name} has no API at {path[:200]}")
            match = _choose(matches, received.method)
        except HubError as error:
            return self._refuse(received, error)
        return await self._handle(hub, match, received, query)

    def _hub_of_host(self, host: str) -> Hub:
        name, colon, port = host.rpartition(":")
        hub = self._by_host.get((name if colon and port.isdigit() else host).lower())
        if hub is None:
            raise IotHubNotFound(f"no hub has the host name {host[:64]!r}; known: {', '.join(self._by_host)}")
        return hub

    async def _handle(self, hub: Hub, match: Match, received: Received, query: str) -> Reply:
        request = HubRequest(
            hub=hub,
            parameters=match.parameters,
            query=dict(parse_qsl(query)),
            headers=received.headers,
            body=received.body,
            now=self._now(),
            perform=self._delivery.perform,
        )
        try:
            self._meter(hub, match, request.now)
            reply = await match.route.handler(request)
            self._delivery.perform([*reply.actions, *hub.connections.condemned()])
            await self._delivery.committed()
        except HubError as error:
            return self._refuse(received, error)
        except StoreError as error:
            return self._refuse(received, ServerError(str(error)))
        return reply

    def _meter(self, hub: Hub, match: Match, now: datetime) -> None:
        """Count a request against the hub's quota.

        Raises:
            ThrottlingException: it is above a limit that is enforced.
        """
        operation = match.route.metered
        if operation is None:
            return
        wait = self._throttle(hub.settings.name, operation, match.parameters.get("device", ""), now)
        if wait:
            raise ThrottlingException(
                f"quota: {operation} is above the limit of hub {hub.settings.name}: in {wait:.1f} s"
            )

    def _refuse(self, received: Received, error: HubError) -> Reply:
        path = received.path.partition("?")[0]
        logger.info("%s %s: %d %s: %s", received.method, path[:200], error.status, type(error).__name__, error)
        return error_reply(error, self._now())


def _choose(matches: Sequence[Match], method: str) -> Match:
    for match in matches:
        if match.route.method == method:
            return match
    allowed = sorted({match.route.method for match in matches})
    raise GenericMethodNotAllowed(f"{method[:16]} is not one of {', '.join(allowed)}")


async def _read(request: web.BaseRequest, path: str) -> Received:
    """Read a request to its end.

    Raises:
        MessageTooLarge: its body is longer than the listener takes (assumed: the code).
    """
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        return Received(request.method, path, headers, await request.read())
    except web.HTTPRequestEntityTooLarge as error:
        raise MessageTooLarge("the body is longer than this API reads") from error


def _response(reply: Reply | None) -> web.StreamResponse | None:
    return None if reply is None else _rendered(reply)


def _rendered(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, body=reply.body, headers=reply.headers)
