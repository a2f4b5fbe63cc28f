"""One HTTP request to the management API in, its answer out."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qsl, unquote_to_bytes
from uuid import uuid4

from aiohttp import web

from adr.errors import AdrError
from adr.store import Store, StoreError
from emulator.adr_rest.body import Body
from emulator.adr_rest.envelopes import LOCATION, PROVIDER
from emulator.adr_rest.errors import ArmError, not_found, of_registry
from emulator.adr_rest.exchange import ArmReply, ArmRequest
from emulator.adr_rest.operations import (
    RETRY_AFTER_SECONDS,
    LongRunningOperation,
    LongRunningOperations,
    describe_operation,
)
from emulator.adr_rest.routes import find_route, generation_of
from emulator.adr_service import AdrService
from emulator.hub_rest.delivery import Delivery

logger = logging.getLogger("emulator")

JSON_TYPE: Final = "application/json; charset=utf-8"
MAX_BODY_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """An HTTP request, read to its end; names of headers are in lower case, `base` is scheme and host."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    base: str = "https://localhost"
    peer: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Target:
    """A path taken apart: what comes before the provider, and the segments after it."""

    scope: str
    segments: tuple[str, ...]
    query: Mapping[str, str]

    @property
    def api_version(self) -> str:
        version = self.query.get("api-version")
        if version is None:
            raise ArmError(400, "MissingApiVersionParameter", "the api-version query parameter is required")
        return version


class ArmRest:
    """The management API of a process's device registry.

    Args:
        service: what it manages.
        store: where operations and envelopes are.
        delivery: the way to live connections, and to the next commit.
        now: the emulator's clock.
    """

    def __init__(self, service: AdrService, store: Store, delivery: Delivery, now: Callable[[], datetime]) -> None:
        self._service = service
        self._store = store
        self._operations = LongRunningOperations(store)
        self._delivery = delivery
        self._now = now

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse | None:
        """Answer a request on the HTTPS front, None when its path is none of ARM's."""
        if not _is_arm(request.path):
            return None
        return await self._serve(request, is_local=False)

    def routes(self) -> list[web.RouteDef]:
        """The same paths for the control API, whose clients own the emulator anyway: no token is asked for."""
        return [web.route("*", "/subscriptions/{path:.*}", self._serve_local)]

    async def _serve_local(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, is_local=True)

    async def _serve(self, request: web.BaseRequest, *, is_local: bool) -> web.Response:
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            error = ArmError(413, "RequestContentTooLarge", f"the body is larger than {MAX_BODY_BYTES} bytes")
            return _rendered(_refusal(error))
        headers = {name.lower(): value for name, value in request.headers.items()}
        received = Received(
            request.method,
            request.raw_path,
            headers,
            body,
            f"{'http' if is_local else 'https'}://{request.host}",
            request.remote or "",
        )
        return _rendered(await self.answer(received, is_local=is_local))

    async def answer(self, received: Received, *, is_local: bool = False) -> Answer:
        """Answer a request; what it wrote is stored, and connections it ends are told to, when the answer leaves."""
        try:
            if not is_local:
                _authorize(received)
            answer = self._handle(received)
            self._delivery.perform(self._service.condemned())
            await self._delivery.committed()
        except AdrError as error:
            return _refuse(received, of_registry(error))
        except ArmError as error:
            return _refuse(received, error)
        except StoreError as error:
            return _refuse(received, ArmError(500, "InternalServerError", str(error)))
        except OSError as error:  # a key is kept in a file before the record that needs it is written
            return _refuse(received, ArmError(500, "InternalServerError", f"a key cannot be kept: {error.strerror}"))
        return answer

    def _handle(self, received: Received) -> Answer:
        target = _parse_target(received.path)
        operation = self._operation(target)
        if operation is not None:
            return self._show(received, target, operation)
        route, parameters = find_route(received.method, target.segments, target.api_version)
        now = self._now()
        request = ArmRequest(
            service=self._service,
            store=self._store,
            base=received.base,
            scope=target.scope,
            parameters=parameters,
            query=target.query,
            body=Body.read(received.body),
            api_version=target.api_version,
            now=now,
        )
        reply = route.handler(request)
        return _answer(reply, self._operation_headers(received, target, reply, now))

    def _operation(self, target: _Target) -> LongRunningOperation | None:
        """Find the operation a path asks for: `locations/{location}/operationStatuses|operationResults/{id}`."""
        if len(target.segments) != 4 or target.segments[0].lower() != "locations":
            return None
        if target.segments[2].lower() not in {"operationstatuses", "operationresults"}:
            return None
        generation_of(target.api_version)
        operation = self._operations.get(target.segments[3])
        if operation is None:
            raise not_found(f"there is no operation {target.segments[3][:64]!r}")
        return operation

    def _show(self, received: Received, target: _Target, operation: LongRunningOperation) -> Answer:
        if received.method != "GET":
            raise ArmError(405, "MethodNotAllowed", f"{received.method[:16]} is not one of GET")
        if target.segments[2].lower() == "operationresults":
            return Answer(204, headers=_common_headers())
        path = received.path.partition("?")[0]
        return _answer(ArmReply(document=describe_operation(operation, path)), {})

    def _operation_headers(self, received: Received, target: _Target, reply: ArmReply, now: datetime) -> dict[str, str]:
        """Tell where a long-running operation can be asked for.

        Source: Azure Resource Manager, asynchronous operations (documented).
        """
        if reply.operation_on is None:
            return {}
        resource = f"{target.scope}/providers/{PROVIDER}/{reply.operation_on}"
        operation = self._operations.add(resource, now)
        subscription = "/".join(target.scope.split("/")[:3])
        base = f"{received.base}{subscription}/providers/{PROVIDER}/locations/{LOCATION}"
        query = f"?api-version={target.api_version}"
        headers = {
            "Azure-AsyncOperation": f"{base}/operationStatuses/{operation.operation_id}{query}",
            "Retry-After": str(RETRY_AFTER_SECONDS),
        }
        if reply.status == 202:
            headers["Location"] = f"{base}/operationResults/{operation.operation_id}{query}"
        return headers


def _is_arm(path: str) -> bool:
    return path.lower().startswith("/subscriptions/")


def _authorize(received: Received) -> None:
    """Ask for a bearer token, which nobody verifies, and for a client on this machine.

    Source: that ARM refuses a request without one with AuthenticationFailed (documented).
    """
    try:
        is_loopback = ip_address(received.peer).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise ArmError(
            403, "AuthorizationFailed", "the management API is for clients on the emulator's own machine only"
        )
    scheme, _, token = received.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise ArmError(
            401, "AuthenticationFailed", "the Authorization header is missing: send a bearer token, any will do"
        )


def _parse_target(raw_path: str) -> _Target:
    path, _, query = raw_path.partition("?")
    try:
        segments = [unquote_to_bytes(segment).decode() for segment in path.strip("/").split("/")]
    except UnicodeDecodeError as error:
        raise ArmError(400, "InvalidRequestUri", "the path is not percent-encoded UTF-8") from error
    lower = [segment.lower() for segment in segments]
    scopes = {("subscriptions", "providers"): 2, ("subscriptions", "resourcegroups", "providers"): 4}
    length = scopes.get(tuple(lower[0:3:2]), 0) or scopes.get(tuple(lower[0:5:2]), 0)
    if not length or len(lower) < length + 3 or lower[length + 1] != PROVIDER.lower():
        raise ArmError(404, "InvalidResourceType", f"there is no resource provider at {path[:200]!r} here")
    if any(not segment or not segment.isprintable() or "/" in segment for segment in segments):
        raise ArmError(
            400, "InvalidRequestUri", "a segment of the path is empty, or holds a slash or control character"
        )
    scope = "/" + "/".join(path.strip("/").split("/")[:length])
    return _Target(scope, tuple(segments[length + 2 :]), dict(parse_qsl(query)))


def _refuse(received: Received, error: ArmError) -> Answer:
    path = received.path.partition("?")[0]
    logger.info("%s %s: %d %s: %s", received.method, path[:200], error.status, error.code, error)
    return _refusal(error)


def _refusal(error: ArmError) -> Answer:
    headers = {**_common_headers(), "Content-Type": JSON_TYPE, "x-ms-failure-cause": "service"}
    return Answer(error.status, json.dumps(error.document()).encode(), headers)


def _answer(reply: ArmReply, headers: Mapping[str, str]) -> Answer:
    every = {**_common_headers(), **headers}
    if reply.document is None:
        return Answer(reply.status, b"", every)
    return Answer(reply.status, json.dumps(reply.document).encode(), {**every, "Content-Type": JSON_TYPE})


def _common_headers() -> dict[str, str]:
    return {"x-ms-request-id": str(uuid4()), "Cache-Control": "no-cache"}


def _rendered(answer: Answer) -> web.Response:
    return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
