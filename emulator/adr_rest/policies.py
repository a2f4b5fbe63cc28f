"""The first generation of the model: `credentials/default` with its policies, each an issuing CA of its own."""

from datetime import timedelta
from typing import Any, Final

from adr.authority import AuthorityState, IssuingCa
from adr.errors import CredentialNotFound, PolicyNotFound
from adr.policy import DEFAULT_LEAF_VALIDITY, Policy
from certs.pem import parse_pem_certificates
from emulator.adr_rest.body import Body
from emulator.adr_rest.envelopes import ACCEPTED, SUCCEEDED
from emulator.adr_rest.errors import ArmError, invalid
from emulator.adr_rest.exchange import ArmReply, ArmRequest, format_time, page, written

KEY_TYPE: Final = "ECC"
DAY: Final = timedelta(days=1)


def get_credential(request: ArmRequest) -> ArmReply:
    """Show the credential."""
    request.adr.credential(request.namespace)
    return ArmReply(document=_describe_credential(request))


def list_credentials(request: ArmRequest) -> ArmReply:
    """List the credential, the only one."""
    try:
        request.adr.credential(request.namespace)
    except CredentialNotFound:
        return page([])
    return page([_describe_credential(request)])


def put_credential(request: ArmRequest) -> ArmReply:
    """Make the root CA, unless there is one: then only tags change."""
    path = _credential_path(request)
    envelope, is_new = request.read_envelope(path), False
    try:
        request.adr.credential(request.namespace)
    except CredentialNotFound:
        request.adr.create_credential(request.namespace, request.now)
        is_new = True
    request.envelopes.put(path, envelope)
    return written(_describe_credential(request, ACCEPTED), path, created=is_new)


def patch_credential(request: ArmRequest) -> ArmReply:
    """Change tags."""
    request.adr.credential(request.namespace)
    path = _credential_path(request)
    request.envelopes.put(path, request.read_envelope(path))
    return ArmReply(document=_describe_credential(request), operation_on=path)


def delete_credential(request: ArmRequest) -> ArmReply:
    """Delete the root CA, when no policies are left."""
    try:
        request.adr.delete_credential(request.namespace)
    except CredentialNotFound:
        return ArmReply(204)
    request.envelopes.delete(_credential_path(request))
    return ArmReply(202, operation_on=_credential_path(request))


def synchronize(request: ArmRequest) -> ArmReply:
    """Do nothing: linked hubs trust what the registry says at every connect."""
    request.adr.credential(request.namespace)
    return ArmReply(202, operation_on=_credential_path(request))


def get_policy(request: ArmRequest) -> ArmReply:
    """Show a policy with its issuing CA."""
    return ArmReply(document=_describe(request, _policy(request)))


def list_policies(request: ArmRequest) -> ArmReply:
    """List the policies."""
    request.adr.credential(request.namespace)
    return page([_describe(request, each) for each in request.adr.policies(request.namespace)])


def put_policy(request: ArmRequest) -> ArmReply:
    """Make a policy with its issuing CA; of one that is there the validity of leaves changes, nothing else may."""
    adr, name = request.adr, request.parameters["policy"]
    adr.credential(request.namespace)
    certificate = request.body.object("properties").object("certificate")
    configuration = certificate.object("certificateAuthorityConfiguration")
    external = _read_configuration(configuration)
    days = certificate.object("leafCertificateConfiguration").days("validityPeriodInDays")
    try:
        present = adr.policy(request.namespace, name)
    except PolicyNotFound:
        envelope = request.read_envelope(_path(request, name))
        validity = DEFAULT_LEAF_VALIDITY if days is None else days * DAY
        policy = adr.create_policy(
            request.namespace, name, request.now, leaf_validity=validity, external=bool(external)
        )
        request.envelopes.put(_path(request, name), envelope)
        return written(_describe(request, policy, ACCEPTED), _path(request, policy.name), created=True)
    if external is not None and external != adr.issuing_ca(request.namespace, name).is_external:
        configuration.object("bringYourOwnRoot").refuse("enabled", "can be set when the policy is made, not later")
    policy = _update(request, present, days)
    return written(_describe(request, policy, ACCEPTED), _path(request, policy.name), created=False)


def patch_policy(request: ArmRequest) -> ArmReply:
    """Change tags and the validity of leaves."""
    present = _policy(request)
    certificate = request.body.object("properties").object("certificate")
    days = certificate.object("leafCertificateConfiguration").days("validityPeriodInDays")
    policy = _update(request, present, days)
    return ArmReply(document=_describe(request, policy), operation_on=_path(request, policy.name))


def delete_policy(request: ArmRequest) -> ArmReply:
    """Delete a policy; what it issued stays good until it expires."""
    try:
        policy = _policy(request)
    except PolicyNotFound:
        return ArmReply(204)
    request.adr.delete_policy(request.namespace, policy.name, request.now)
    request.envelopes.delete(_path(request, policy.name))
    return ArmReply(202, operation_on=_path(request, policy.name))


def revoke_issuer(request: ArmRequest) -> ArmReply:
    """Revoke the policy's issuing CA with everything it issued."""
    policy = _policy(request)
    request.service.revoke_issuing_ca(request.namespace, policy.authority, request.now)
    return ArmReply(202, operation_on=_path(request, policy.name))


def activate_bring_your_own_root(request: ArmRequest) -> ArmReply:
    """Take the chain that the owner's CA signed."""
    policy = _policy(request)
    activate(request, policy.authority)
    return ArmReply(202, operation_on=_path(request, policy.name))


def activate(request: ArmRequest, authority: str) -> None:
    """Read the chain of a request and activate an issuing CA with it.

    Raises:
        ArmError: there is no chain in PEM.
        AdrError: the chain breaks a rule, or there is nothing to activate.
    """
    pem = request.body.text("certificateChain")
    if pem is None:
        raise invalid("certificateChain is missing: it must be the signed certificate and its issuers in PEM")
    try:
        chain = parse_pem_certificates(pem)
    except ValueError as error:
        raise ArmError(400, "InvalidCertificateChain", f"certificateChain is not PEM: {error}") from error
    request.adr.authorities.activate(request.namespace, authority, chain, request.now)


def external_issuer(request: ArmRequest, authority: IssuingCa) -> dict[str, Any]:
    """Write what an issuing CA of an external root waits for, or has."""
    pending = request.adr.authorities.pending(authority.namespace, authority.name)
    described: dict[str, Any] = {"status": "Active" if pending is None else "ActiveButPendingRenewal"}
    if authority.state is AuthorityState.PENDING:
        described["status"] = "PendingActivation"
    if pending is not None:
        described["certificateSigningRequest"] = pending.request
    if authority.certificate is not None:
        described["thumbprint"] = authority.thumbprint
    return described


def describe_validity(authority: IssuingCa) -> dict[str, Any]:
    """Write the subject and period of an issuing CA, nothing while it waits for its certificate."""
    certificate = authority.certificate
    if certificate is None:
        return {}
    return {
        "subject": certificate.subject.rfc4514_string(),
        "validityNotBefore": format_time(certificate.not_valid_before_utc),
        "validityNotAfter": format_time(certificate.not_valid_after_utc),
    }


def format_days(validity: timedelta) -> float:
    """Write a validity in days: whole ones as whole numbers, as SDKs want them."""
    days = validity / DAY
    return int(days) if days.is_integer() else days


def _policy(request: ArmRequest) -> Policy:
    request.adr.namespace(request.namespace)
    return request.adr.policy(request.namespace, request.parameters["policy"])


def _update(request: ArmRequest, present: Policy, days: float | None) -> Policy:
    path = _path(request, present.name)
    envelope = request.read_envelope(path)
    policy = present
    if days is not None:
        policy = request.adr.update_policy(request.namespace, present.name, leaf_validity=days * DAY)
    request.envelopes.put(path, envelope)
    return policy


def _read_configuration(configuration: Body) -> bool | None:
    """Check the key type and tell whether an own root is asked for, None when nothing is said of it."""
    key_type = configuration.text("keyType")
    if key_type not in (None, KEY_TYPE):
        configuration.refuse("keyType", f"is {key_type!r}: the only key type is {KEY_TYPE}")
    return configuration.object("bringYourOwnRoot").flag("enabled")


def _describe_credential(request: ArmRequest, state: str = SUCCEEDED) -> dict[str, Any]:
    return request.resource(_credential_path(request), {"provisioningState": state})


def _describe(request: ArmRequest, policy: Policy, state: str = SUCCEEDED) -> dict[str, Any]:
    authority = request.adr.authorities.current(policy.namespace, policy.authority)
    own_root: dict[str, Any] = {"enabled": authority.is_external}
    if authority.is_external:
        own_root |= external_issuer(request, authority)
        if "thumbprint" in own_root:
            own_root["issuingCertificateThumbprint"] = own_root.pop("thumbprint")
    configuration = {"keyType": KEY_TYPE, **describe_validity(authority), "bringYourOwnRoot": own_root}
    leaf = {"validityPeriodInDays": format_days(policy.leaf_validity)}
    certificate = {"certificateAuthorityConfiguration": configuration, "leafCertificateConfiguration": leaf}
    properties = {"provisioningState": state, "certificate": certificate}
    return request.resource(_path(request, policy.name), properties)


def _credential_path(request: ArmRequest) -> str:
    return f"namespaces/{request.namespace}/credentials/default"


def _path(request: ArmRequest, name: str) -> str:
    return f"{_credential_path(request)}/policies/{name}"
