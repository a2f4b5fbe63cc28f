"""The second generation of the model: certificate authorities, and the certificate policies under each."""

from typing import Any, Final

from adr.authority import IssuingCa
from adr.credential import Credential
from adr.errors import AuthorityIsManaged, AuthorityNotFound, CredentialNotFound, PolicyNotFound
from adr.policy import DEFAULT_LEAF_VALIDITY, Policy
from emulator.adr_rest.body import Body
from emulator.adr_rest.envelopes import ACCEPTED, SUCCEEDED, resource_id, resource_uuid
from emulator.adr_rest.exchange import ArmReply, ArmRequest, format_time, page, written
from emulator.adr_rest.policies import DAY, KEY_TYPE, activate, describe_validity, external_issuer, format_days

ROOT, ICA, BRING_YOUR_OWN = "Root", "ICA", "BringYourOwn"
TYPES: Final = (ROOT, ICA, BRING_YOUR_OWN)
# Later versions have no type of its own for an issuing CA of an external root, but an issuer.
FIRST_API_VERSION: Final = "2026-11-01-preview"

Authority = Credential | IssuingCa


def get_authority(request: ArmRequest) -> ArmReply:
    """Show a root or issuing CA."""
    return ArmReply(document=_describe(request, _authority(request)))


def list_authorities(request: ArmRequest) -> ArmReply:
    """List the root and the issuing CAs."""
    request.adr.namespace(request.namespace)
    root = _root(request)
    every: list[Authority] = [] if root is None else [root]
    every += request.adr.authorities.all_current(request.namespace)
    return page([_describe(request, each) for each in every])


def put_authority(request: ArmRequest) -> ArmReply:
    """Make a root or an issuing CA; of one that is there only tags change."""
    name = request.parameters["authority"]
    kind, external = _read_kind(request)
    path = _path(request, name)
    envelope = request.read_envelope(path)
    try:
        authority = _authority(request)
        if _kind_of(authority) != (kind, external):
            request.body.object("properties").refuse("certificateAuthorityType", "cannot be changed")
        is_new = False
    except AuthorityNotFound:
        authority, is_new = _create(request, name, kind, external=external), True
    request.envelopes.put(path, envelope)
    return written(_describe(request, authority, ACCEPTED), path, created=is_new)


def patch_authority(request: ArmRequest) -> ArmReply:
    """Change tags."""
    authority = _authority(request)
    path = _path(request, authority.name)
    request.envelopes.put(path, request.read_envelope(path))
    return ArmReply(document=_describe(request, authority), operation_on=path)


def delete_authority(request: ArmRequest) -> ArmReply:
    """Delete a root without issuing CAs, or an issuing CA without policies."""
    try:
        authority = _authority(request)
    except AuthorityNotFound:
        return ArmReply(204)
    if isinstance(authority, Credential):
        request.adr.delete_credential(request.namespace)
    else:
        request.adr.delete_issuing_ca(request.namespace, authority.name, request.now)
    request.envelopes.delete(_path(request, authority.name))
    return ArmReply(202, operation_on=_path(request, authority.name))


def activate_authority(request: ArmRequest) -> ArmReply:
    """Take the chain that an external CA signed."""
    authority = _authority(request)
    if isinstance(authority, Credential):
        raise AuthorityIsManaged(f"{authority.name!r} is the root of namespace {request.namespace!r}: it is active")
    activate(request, authority.name)
    return ArmReply(202, operation_on=_path(request, authority.name))


def revoke_authority(request: ArmRequest) -> ArmReply:
    """Revoke an issuing CA with everything it issued, and make the next."""
    authority = _authority(request)
    if isinstance(authority, Credential):
        raise AuthorityIsManaged(f"{authority.name!r} is the root of namespace {request.namespace!r}: revoke its ICAs")
    request.service.revoke_issuing_ca(request.namespace, authority.name, request.now)
    return ArmReply(202, operation_on=_path(request, authority.name))


def get_policy(request: ArmRequest) -> ArmReply:
    """Show a certificate policy."""
    return ArmReply(document=_describe_policy(request, _policy(request)))


def list_policies(request: ArmRequest) -> ArmReply:
    """List the certificate policies of an authority; a root has none."""
    authority = _authority(request)
    policies = request.adr.policies_of(request.namespace, authority.name) if isinstance(authority, IssuingCa) else []
    return page([_describe_policy(request, each) for each in policies])


def put_policy(request: ArmRequest) -> ArmReply:
    """Make a certificate policy under an issuing CA, or change how long its leaves live."""
    name, authority = request.parameters["policy"], request.parameters["authority"]
    _authority(request)
    days, path = _read_days(request), _policy_path(request, name)
    envelope = request.read_envelope(path)
    try:
        policy, is_new = _policy(request), False
        if days is not None:
            policy = request.adr.update_policy(request.namespace, name, leaf_validity=days * DAY)
    except PolicyNotFound:
        validity = DEFAULT_LEAF_VALIDITY if days is None else days * DAY
        policy, is_new = (
            request.adr.create_policy(
                request.namespace, name, request.now, leaf_validity=validity, authority=authority
            ),
            True,
        )
    request.envelopes.put(path, envelope)
    return written(_describe_policy(request, policy, ACCEPTED), path, created=is_new)


def patch_policy(request: ArmRequest) -> ArmReply:
    """Change tags and how long leaves live."""
    policy, days = _policy(request), _read_days(request)
    path = _policy_path(request, policy.name)
    envelope = request.read_envelope(path)
    if days is not None:
        policy = request.adr.update_policy(request.namespace, policy.name, leaf_validity=days * DAY)
    request.envelopes.put(path, envelope)
    return ArmReply(document=_describe_policy(request, policy), operation_on=path)


def delete_policy(request: ArmRequest) -> ArmReply:
    """Delete a certificate policy; its issuing CA stays."""
    try:
        policy = _policy(request)
    except PolicyNotFound:
        return ArmReply(204)
    request.adr.delete_policy(request.namespace, policy.name, request.now, keep_authority=True)
    request.envelopes.delete(_policy_path(request, policy.name))
    return ArmReply(202, operation_on=_policy_path(request, policy.name))


def _create(request: ArmRequest, name: str, kind: str, *, external: bool) -> Authority:
    if kind == ROOT:
        return request.adr.create_credential(request.namespace, request.now, name)
    return request.adr.create_issuing_ca(request.namespace, name, request.now, external=external)


def _read_kind(request: ArmRequest) -> tuple[str, bool]:
    """Read what kind of authority a body asks for: its type, and whether somebody else's CA signs it."""
    properties = request.body.object("properties")
    kind = properties.text("certificateAuthorityType")
    if kind not in TYPES:
        properties.refuse("certificateAuthorityType", f"is {kind!r}: it must be one of {', '.join(TYPES)}")
    if properties.text("keyType") not in (None, KEY_TYPE):
        properties.refuse("keyType", f"is {properties.text('keyType')!r}: the only key type is {KEY_TYPE}")
    issuer = properties.object("issuer")
    issuer_type = issuer.text("issuerType")
    if issuer_type not in (None, "Microsoft", "External"):
        issuer.refuse("issuerType", f"is {issuer_type!r}: it must be Microsoft or External")
    if kind == ICA and issuer_type != "External":
        _check_issuer(request, issuer)
    return (ROOT if kind == ROOT else ICA), kind == BRING_YOUR_OWN or issuer_type == "External"


def _check_issuer(request: ArmRequest, issuer: Body) -> None:
    resource = issuer.text("certificateAuthorityResourceId")
    if resource is None:
        return
    name, root = resource.rstrip("/").rpartition("/")[2], request.adr.credential(request.namespace)
    if name.lower() != root.name.lower():
        issuer.refuse("certificateAuthorityResourceId", f"names {name!r}: the root of the namespace is {root.name!r}")


def _kind_of(authority: Authority) -> tuple[str, bool]:
    return (ROOT, False) if isinstance(authority, Credential) else (ICA, authority.is_external)


def _root(request: ArmRequest) -> Credential | None:
    try:
        return request.adr.credential(request.namespace)
    except CredentialNotFound:
        return None


def _authority(request: ArmRequest) -> Authority:
    request.adr.namespace(request.namespace)
    name, root = request.parameters["authority"], _root(request)
    if root is not None and root.name.lower() == name.lower():
        return root
    return request.adr.authorities.current(request.namespace, name)


def _policy(request: ArmRequest) -> Policy:
    request.adr.namespace(request.namespace)
    policy = request.adr.policy(request.namespace, request.parameters["policy"])
    if policy.authority.lower() != request.parameters["authority"].lower():
        raise PolicyNotFound(f"issuing CA {request.parameters['authority']!r} has no policy {policy.name!r}")
    return policy


def _read_days(request: ArmRequest) -> float | None:
    return request.body.object("properties").object("certificate").days("validityPeriodInDays")


def _describe(request: ArmRequest, authority: Authority, state: str = SUCCEEDED) -> dict[str, Any]:
    path = _path(request, authority.name)
    properties: dict[str, Any] = {
        "provisioningState": state,
        "uuid": resource_uuid(path, authority.created.isoformat()),
        "keyType": KEY_TYPE,
    }
    if isinstance(authority, Credential):
        properties |= {"certificateAuthorityType": ROOT, **_describe_root(authority)}
    else:
        properties |= {**_describe_issuer(request, authority), **describe_validity(authority)}
    return request.resource(path, properties)


def _describe_root(root: Credential) -> dict[str, Any]:
    return {
        "subject": root.certificate.subject.rfc4514_string(),
        "validityNotBefore": format_time(root.certificate.not_valid_before_utc),
        "validityNotAfter": format_time(root.certificate.not_valid_after_utc),
    }


def _describe_issuer(request: ArmRequest, authority: IssuingCa) -> dict[str, Any]:
    """Write who signs an issuing CA, in the form of the request's version.

    Source: certificateAuthorities.tsp; the form of the first preview is of an earlier draft (assumed).
    """
    if not authority.is_external:
        root = _root(request)
        issuer: dict[str, Any] = {"issuerType": "Microsoft"}
        if root is not None:
            issuer["certificateAuthorityResourceId"] = resource_id(request.scope, _path(request, root.name))
        return {"certificateAuthorityType": ICA, "issuer": issuer}
    own = external_issuer(request, authority)
    if request.api_version <= FIRST_API_VERSION:
        return {"certificateAuthorityType": BRING_YOUR_OWN, "bringYourOwn": own}
    return {"certificateAuthorityType": ICA, "issuer": {"issuerType": "External", **own}}


def _describe_policy(request: ArmRequest, policy: Policy, state: str = SUCCEEDED) -> dict[str, Any]:
    path = _policy_path(request, policy.name)
    return request.resource(
        path,
        {
            "provisioningState": state,
            "uuid": resource_uuid(path, policy.created.isoformat()),
            "certificate": {"validityPeriodInDays": format_days(policy.leaf_validity)},
        },
    )


def _path(request: ArmRequest, name: str) -> str:
    return f"namespaces/{request.namespace}/certificateAuthorities/{name}"


def _policy_path(request: ArmRequest, name: str) -> str:
    return f"{_path(request, request.parameters['authority'])}/certificatePolicies/{name}"
