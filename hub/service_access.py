"""Who may use the service API of a hub: the token of a shared access policy with the right that a request needs."""

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import unquote

from hub.errors import GenericUnauthorized, IotHubUnauthorized, IotHubUnauthorizedAccess
from hub.policies import AccessRights, SharedAccessPolicies, SharedAccessPolicy
from hub.sas import PREFIX, SasToken, SasTokenError, parse_sas_token, verify_sas_signature
from hub.settings import HubSettings


class ServiceAccess:
    """Decides by the `Authorization` header of a request."""

    def __init__(self, settings: HubSettings, policies: SharedAccessPolicies) -> None:
        self._settings = settings
        self._policies = policies

    def check(self, authorization: str | None, path: Sequence[str], right: AccessRights, now: datetime) -> None:
        """Let a request pass.

        Args:
            authorization: the header, None without one.
            path: the decoded segments of the path.
            right: what the request needs.
            now: the present; there is no grace on the token's expiry (assumed).

        Raises:
            GenericUnauthorized: no header, or not a SAS token (Microsoft Entra tokens are not read).
            IotHubUnauthorized: the token is expired, for something else, or wrongly signed.
            IotHubUnauthorizedAccess: its policy has not the right.

        Source: authenticate-authorize-sas.md, troubleshoot-error-codes.md (documented); live probes (observed).
        """
        token = _parse(authorization)
        if now >= token.expires_at:
            raise IotHubUnauthorized(
                f"the SAS token expired at {token.expires_at.isoformat()}, now is {now.isoformat()}"
            )
        if not _covers(token.resource, path):
            raise IotHubUnauthorized(f"the SAS token is for {token.resource[:200]!r}, not for /{'/'.join(path)[:200]}")
        policy = self._policy(token)
        if not any(verify_sas_signature(token, key) for key in (policy.primary_key, policy.secondary_key)):
            raise IotHubUnauthorized(
                f"the SAS token is not signed with a key of the shared access policy {policy.name}"
            )
        if right not in policy.rights:
            raise IotHubUnauthorizedAccess(f"shared access policy {policy.name} has no right {right.name}")

    def _policy(self, token: SasToken) -> SharedAccessPolicy:
        if self._settings.disable_local_auth:
            raise IotHubUnauthorized(f"hub {self._settings.name} refuses tokens of policies (disableLocalAuth)")
        policy = self._policies.get(token.policy_name or "")
        if policy is None:
            raise IotHubUnauthorized(f"the SAS token names no shared access policy (skn) of hub {self._settings.name}")
        return policy


def _parse(authorization: str | None) -> SasToken:
    if not authorization:
        raise GenericUnauthorized("Authorization header missing")
    if not authorization.startswith(PREFIX):
        raise GenericUnauthorized("the Authorization header is not a SharedAccessSignature")
    try:
        return parse_sas_token(authorization)
    except SasTokenError as error:
        raise GenericUnauthorized(f"the Authorization header cannot be read: {error}") from error


def _covers(resource: str, path: Sequence[str]) -> bool:
    """Tell whether `sr` is a segment-wise prefix of the request; its host is whatever the client dialled."""
    once = unquote(resource)
    for text in (once, unquote(once)):
        _, *segments = text.removeprefix("https://").rstrip("/").split("/")
        if segments == list(path[: len(segments)]):
            return True
    return False
