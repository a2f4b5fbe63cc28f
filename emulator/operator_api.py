"""The part of the control API that changes something: the clock and uploaded CAs; beside them the audit trail.

A change comes as `application/json`, which no page of another origin can send without asking first.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from aiohttp import web

from adr.audit import AuditKind, AuditTrail
from adr.store import StoreError
from emulator.audit import read_audit
from emulator.clock_control import ClockChangeRefused, ClockControl
from emulator.request_json import BadRequest, parse_positions, read_json
from emulator.uploaded_cas import ServiceNotFound, UploadedCas, UploadRefused

Handler = Callable[[web.Request], Awaitable[web.Response]]


class OperatorApi:
    """The handlers.

    Args:
        clock: changes the clock.
        audit: the audit trail.
        uploads: the CA certificates of hubs and DPS.
        commit: makes durable what was written.
        now: the emulator's clock.
        warnings: what an operator should know at a time.
    """

    def __init__(
        self,
        clock: ClockControl,
        audit: AuditTrail,
        uploads: UploadedCas,
        *,
        commit: Callable[[], None],
        now: Callable[[], datetime],
        warnings: Callable[[datetime], list[str]],
    ) -> None:
        self._clock = clock
        self._audit = audit
        self._uploads = uploads
        self._commit = commit
        self._now = now
        self._warnings = warnings

    def routes(self) -> list[web.RouteDef]:
        """List the routes of the control API that are served here."""
        uploaded = "/ca-certificates/{service}/{name}"
        return [
            web.get("/clock", _answering(self._get_clock)),
            web.post("/clock", _answering(self._post_clock)),
            web.get("/audit", _answering(self._get_audit)),
            web.get("/ca-certificates", _answering(self._get_uploads)),
            web.put(uploaded, _answering(self._put_upload)),
            web.delete(uploaded, _answering(self._delete_upload)),
            web.post(f"{uploaded}/verify", _answering(self._verify_upload)),
        ]

    async def _get_clock(self, _request: web.Request) -> web.Response:
        return self._clock_response(self._clock.describe())

    async def _post_clock(self, request: web.Request) -> web.Response:
        return self._clock_response(self._clock.change(await read_json(request)))

    def _clock_response(self, description: dict[str, Any]) -> web.Response:
        return web.json_response({**description, "warnings": self._warnings(self._now())})

    async def _get_audit(self, request: web.Request) -> web.Response:
        query = request.query
        positions = parse_positions(query.get("from", "{}"), {"audit/lifecycle": 12})
        page = read_audit(self._audit, positions, query.get("device"), parse_kinds(query.getall("kind", [])))
        return web.json_response({"events": page.events, "positions": dict(page.positions)})

    async def _get_uploads(self, _request: web.Request) -> web.Response:
        return web.json_response({"caCertificates": self._uploads.list()})

    async def _put_upload(self, request: web.Request) -> web.Response:
        body = _object(await read_json(request))
        is_verified = body.get("isVerified", False)
        if not isinstance(is_verified, bool):
            raise BadRequest("isVerified must be true or false")
        service, name = request.match_info["service"], request.match_info["name"]
        described = self._uploads.add(service, name, _pem(body), is_verified=is_verified)
        self._commit()
        return web.json_response(described)

    async def _verify_upload(self, request: web.Request) -> web.Response:
        pem = _pem(_object(await read_json(request)))
        described = self._uploads.verify(request.match_info["service"], request.match_info["name"], pem, self._now())
        self._commit()
        return web.json_response(described)

    async def _delete_upload(self, request: web.Request) -> web.Response:
        self._uploads.remove(request.match_info["service"], request.match_info["name"])
        self._commit()
        return web.Response(status=204)


def parse_kinds(texts: list[str]) -> frozenset[AuditKind]:
    """Read kinds of audit events.

    Raises:
        BadRequest: there is none of a name.
    """
    try:
        return frozenset(AuditKind(text) for text in texts)
    except ValueError:
        raise BadRequest(f"kind: must be one of {', '.join(AuditKind)}") from None


def _answering(handler: Handler) -> Handler:
    """Turn what a handler refuses into an answer: `{"error": "…"}`."""

    async def answer(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except ServiceNotFound as error:
            return web.json_response({"error": str(error)}, status=404)
        except (BadRequest, ClockChangeRefused, UploadRefused) as error:
            return web.json_response({"error": str(error)}, status=400)
        except StoreError as error:
            return web.json_response({"error": str(error)}, status=500)

    return answer


def _object(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise BadRequest("the body must be a JSON object")
    return value


def _pem(body: Mapping[str, object]) -> str:
    pem = body.get("certificate")
    if not isinstance(pem, str):
        raise BadRequest("certificate must be a text, one certificate in PEM")
    return pem
