"""The paths of the management API, and the handler of each in the generations of the model that have it.

Rules for editing: one row per method and path; `{name}` stands for one segment, other segments match in any letter
case. An api-version from 2026-11-01 on chooses the second generation.
Source: azure-mgmt-deviceregistry 1.2.0b1 (sdk), certificateAuthorities.tsp and certificatePolicies.tsp (documented).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Flag, auto
from typing import Final

from emulator.adr_rest import authorities, devices, namespaces, policies
from emulator.adr_rest.errors import ArmError
from emulator.adr_rest.exchange import ArmReply, ArmRequest

Handler = Callable[[ArmRequest], ArmReply]
API_VERSION: Final = re.compile(r"20[0-9]{2}-[01][0-9]-[0-3][0-9](-preview)?")
FIRST_OF_SECOND_GENERATION: Final = "2026-11-01"
KNOWN_VERSIONS: Final = "2025-11-01-preview, 2026-03-01-preview, 2026-11-01-preview, 2026-11-02-preview"


class Generation(Flag):
    """Which generations of the model a path belongs to."""

    FIRST = auto()
    SECOND = auto()
    BOTH = FIRST | SECOND


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path below the provider."""

    method: str
    template: tuple[str, ...]
    handler: Handler
    generation: Generation


def _route(method: str, template: str, handler: Handler, generation: Generation = Generation.BOTH) -> Route:
    return Route(method, tuple(template.split("/")), handler, generation)


_NAMESPACE = "namespaces/{namespace}"
_CREDENTIAL = f"{_NAMESPACE}/credentials/default"
_POLICY = f"{_CREDENTIAL}/policies/{{policy}}"
_AUTHORITY = f"{_NAMESPACE}/certificateAuthorities/{{authority}}"
_CERTIFICATE_POLICY = f"{_AUTHORITY}/certificatePolicies/{{policy}}"
_DEVICE = f"{_NAMESPACE}/devices/{{device}}"
_FIRST, _SECOND = Generation.FIRST, Generation.SECOND

ROUTES: Final = (
    _route("GET", "namespaces", namespaces.list_namespaces),
    _route("GET", _NAMESPACE, namespaces.get_namespace),
    _route("PUT", _NAMESPACE, namespaces.put_namespace),
    _route("PATCH", _NAMESPACE, namespaces.patch_namespace),
    _route("DELETE", _NAMESPACE, namespaces.delete_namespace),
    _route("GET", f"{_NAMESPACE}/credentials", policies.list_credentials, _FIRST),
    _route("GET", _CREDENTIAL, policies.get_credential, _FIRST),
    _route("PUT", _CREDENTIAL, policies.put_credential, _FIRST),
    _route("PATCH", _CREDENTIAL, policies.patch_credential, _FIRST),
    _route("DELETE", _CREDENTIAL, policies.delete_credential, _FIRST),
    _route("POST", f"{_CREDENTIAL}/synchronize", policies.synchronize, _FIRST),
    _route("GET", f"{_CREDENTIAL}/policies", policies.list_policies, _FIRST),
    _route("GET", _POLICY, policies.get_policy, _FIRST),
    _route("PUT", _POLICY, policies.put_policy, _FIRST),
    _route("PATCH", _POLICY, policies.patch_policy, _FIRST),
    _route("DELETE", _POLICY, policies.delete_policy, _FIRST),
    _route("POST", f"{_POLICY}/revokeIssuer", policies.revoke_issuer, _FIRST),
    _route("POST", f"{_POLICY}/activateBringYourOwnRoot", policies.activate_bring_your_own_root, _FIRST),
    _route("GET", f"{_NAMESPACE}/certificateAuthorities", authorities.list_authorities, _SECOND),
    _route("GET", _AUTHORITY, authorities.get_authority, _SECOND),
    _route("PUT", _AUTHORITY, authorities.put_authority, _SECOND),
    _route("PATCH", _AUTHORITY, authorities.patch_authority, _SECOND),
    _route("DELETE", _AUTHORITY, authorities.delete_authority, _SECOND),
    _route("POST", f"{_AUTHORITY}/activate", authorities.activate_authority, _SECOND),
    _route("POST", f"{_AUTHORITY}/revoke", authorities.revoke_authority, _SECOND),
    _route("POST", f"{_AUTHORITY}/revokeAndRotate", authorities.revoke_authority, _SECOND),
    _route("GET", f"{_AUTHORITY}/certificatePolicies", authorities.list_policies, _SECOND),
    _route("GET", _CERTIFICATE_POLICY, authorities.get_policy, _SECOND),
    _route("PUT", _CERTIFICATE_POLICY, authorities.put_policy, _SECOND),
    _route("PATCH", _CERTIFICATE_POLICY, authorities.patch_policy, _SECOND),
    _route("DELETE", _CERTIFICATE_POLICY, authorities.delete_policy, _SECOND),
    _route("GET", f"{_NAMESPACE}/devices", devices.list_devices),
    _route("GET", _DEVICE, devices.get_device),
    _route("PUT", _DEVICE, devices.put_device),
    _route("PATCH", _DEVICE, devices.patch_device),
    _route("DELETE", _DEVICE, devices.delete_device),
    _route("POST", f"{_DEVICE}/revoke", devices.revoke_device),
    _route("GET", f"{_DEVICE}/certificates", devices.list_certificates),
)


def generation_of(api_version: str) -> Generation:
    """Tell which generation of the model an api-version has.

    Raises:
        ArmError: it is no api-version.
    """
    if not API_VERSION.fullmatch(api_version):
        raise ArmError(
            400,
            "InvalidApiVersionParameter",
            f"the api-version {api_version[:40]!r} is invalid: it must be a date with or without -preview; "
            f"known: {KNOWN_VERSIONS}",
        )
    return Generation.SECOND if api_version[:10] >= FIRST_OF_SECOND_GENERATION else Generation.FIRST


def find_route(method: str, segments: Sequence[str], api_version: str) -> tuple[Route, dict[str, str]]:
    """Find the handler of a request, and what stands in the place of the parameters.

    Raises:
        ArmError: the path does not exist, or not with this method or in this api-version.
    """
    generation = generation_of(api_version)
    matches = [(route, found) for route in ROUTES if (found := _match(route.template, segments)) is not None]
    offered = [(route, found) for route, found in matches if route.generation & generation]
    if not offered:
        kind = "/".join(segments[::2])[:200]
        raise ArmError(
            404,
            "InvalidResourceType",
            f"the resource type {kind!r} could not be found in the namespace 'Microsoft.DeviceRegistry' for api "
            f"version {api_version!r}",
        )
    for route, found in offered:
        if route.method == method:
            return route, found
    allowed = ", ".join(sorted({route.method for route, _ in offered}))
    raise ArmError(405, "MethodNotAllowed", f"{method[:16]} is not one of {allowed}")


def _match(template: Sequence[str], segments: Sequence[str]) -> dict[str, str] | None:
    if len(template) != len(segments):
        return None
    parameters: dict[str, str] = {}
    for expected, segment in zip(template, segments, strict=True):
        if expected.startswith("{"):
            if not segment:
                return None
            parameters[expected[1:-1]] = segment
        elif expected.lower() != segment.lower():
            return None
    return parameters
