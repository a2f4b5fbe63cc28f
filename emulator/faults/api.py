"""The routes of the control API for faults and quotas."""

from aiohttp import web

from emulator.faults.control import FaultControl
from emulator.faults.fault import FaultRefused
from emulator.request_json import BadRequest, read_json


class FaultApi:
    """The handlers over one control; a change comes as `application/json`, so that no web page can send it unasked."""

    def __init__(self, control: FaultControl) -> None:
        self._control = control

    def routes(self) -> list[web.RouteDef]:
        """List the routes."""
        return [
            web.get("/faults", self._list),
            web.post("/faults", self._change),
            web.delete("/faults", self._clear),
            web.delete("/faults/{name}", self._remove),
            web.get("/quota", self._report),
            web.post("/quota", self._change_quota),
        ]

    async def _list(self, _request: web.Request) -> web.Response:
        return web.json_response(self._control.describe())

    async def _change(self, request: web.Request) -> web.Response:
        try:
            return web.json_response(self._control.change(await read_json(request)))
        except (BadRequest, FaultRefused) as error:
            return _refused(error)

    async def _clear(self, _request: web.Request) -> web.Response:
        self._control.clear()
        return web.Response(status=204)

    async def _remove(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if self._control.remove(name):
            return web.Response(status=204)
        return web.json_response({"error": f"there is no fault {name[:64]!r}"}, status=404)

    async def _report(self, _request: web.Request) -> web.Response:
        return web.json_response(self._control.describe_quota())

    async def _change_quota(self, request: web.Request) -> web.Response:
        try:
            return web.json_response(self._control.change_quota(await read_json(request)))
        except (BadRequest, FaultRefused) as error:
            return _refused(error)


def _refused(error: Exception) -> web.Response:
    return web.json_response({"error": str(error)}, status=400)
