"""What issued certificates point to: issuers' certificates (AIA) and revocation lists (CDP), over plain HTTP."""

import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final, TypeVar

from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding

from adr.authority import IssuingCa
from adr.credential import Credential
from adr.errors import AdrError, AuthorityNotFound
from adr.registry import AdrRegistry

Ca = TypeVar("Ca", Credential, IssuingCa)

# `{name}.{generation}`, or `{name}` for the present generation.
PLACE: Final = re.compile(r"(?P<name>[A-Za-z0-9-]{1,64})(?:\.(?P<generation>[0-9]{1,9}))?")


class Publication:
    """Serves DER, at addresses that hold for as long as a certificate may name them.

    Args:
        adr: whose CAs.
        now: the emulator's clock.
        committed: waits until what was written is stored: no two lists of one CA may have the same number.
    """

    def __init__(self, adr: AdrRegistry, now: Callable[[], datetime], committed: Callable[[], Awaitable[None]]) -> None:
        self._adr = adr
        self._now = now
        self._committed = committed

    def routes(self) -> list[web.RouteDef]:
        """The paths of roots (`/ca/{namespace}.{generation}.cer`) and of issuing CAs under their namespace."""
        return [
            web.get("/ca/{root}.cer", self._get_certificate),
            web.get("/ca/{namespace}/{authority}.cer", self._get_certificate),
            web.get("/crl/{root}.crl", self._get_revocation_list),
            web.get("/crl/{namespace}/{authority}.crl", self._get_revocation_list),
        ]

    async def _get_certificate(self, request: web.Request) -> web.Response:
        """RFC 5280 §4.2.2.1: one certificate, DER."""
        der = self._find(request).signed.public_bytes(Encoding.DER)
        return web.Response(body=der, content_type="application/pkix-cert")

    async def _get_revocation_list(self, request: web.Request) -> web.Response:
        """RFC 5280 §4.2.1.13: one list, DER."""
        issuer = self._find(request)
        try:
            der = self._adr.revocations.signed_list(issuer, self._now())
        except AdrError as error:
            raise web.HTTPServiceUnavailable(text=f"{error}\n") from error
        await self._committed()
        return web.Response(body=der, content_type="application/pkix-crl")

    def _find(self, request: web.Request) -> Credential | IssuingCa:
        place = request.match_info.get("authority") or request.match_info["root"]
        found = PLACE.fullmatch(place)
        try:
            if found is None:
                raise AuthorityNotFound(f"there is no CA at {place[:64]!r}")
            generation = int(found["generation"]) if found["generation"] else None
            if "root" in request.match_info:
                return self._root(found["name"], generation)
            return self._issuing_ca(request.match_info["namespace"], found["name"], generation)
        except AdrError as error:
            raise web.HTTPNotFound(text=f"{error}\n") from error

    def _root(self, namespace: str, generation: int | None) -> Credential:
        if generation is None:
            return self._adr.credential(namespace)
        roots = self._adr.authorities.roots(namespace)
        return _require([root for root in roots if root.generation == generation], namespace, generation)

    def _issuing_ca(self, namespace: str, name: str, generation: int | None) -> IssuingCa:
        authorities = self._adr.authorities
        if generation is None:
            return _require([authorities.current(namespace, name)], name, None)
        every = authorities.generations(namespace, name)
        return _require([each for each in every if each.generation == generation], name, generation)


def _require(found: Sequence[Ca], name: str, generation: int | None) -> Ca:
    signed = [each for each in found if isinstance(each, Credential) or each.certificate is not None]
    if not signed:
        raise AuthorityNotFound(f"CA {name!r} has no certificate of generation {generation or 'now'}")
    return signed[0]
