"""Authentication by a SAS token: of a device or module key, or of a shared access policy of the hub."""

from datetime import datetime
from urllib.parse import unquote

from hub.grant import AuthMethod, Denial, Grant
from hub.identity import Authentication, AuthenticationType
from hub.policies import AccessRights, SharedAccessPolicies
from hub.sas import SasToken, SasTokenError, parse_sas_token, verify_sas_signature
from hub.settings import HubSettings
from hub.user_name import UserName


class SasAccess:
    """Decides by the password of a CONNECT."""

    def __init__(self, settings: HubSettings, policies: SharedAccessPolicies) -> None:
        self._settings = settings
        self._policies = policies

    def check(self, user: UserName, authentication: Authentication, password: bytes, now: datetime) -> Grant | Denial:
        """Check a token's form, expiry, resource and signature.

        The key is the one the token names: a policy's (`skn`), else the identity's. There is no grace on the
        expiry (assumed). A policy token connects an identity of any authentication type (assumed).

        Source: authenticate-authorize-sas.md (documented).
        """
        try:
            token = parse_sas_token(password.decode())
        except (UnicodeDecodeError, SasTokenError) as error:
            return Denial(f"password is not a SAS token: {error}")
        if now >= token.expires_at:
            return Denial(f"SAS token expired at {token.expires_at.isoformat()}, now is {now.isoformat()}")
        if not covers(token.resource, user):
            return Denial(f"SAS token is for {token.resource[:200]!r}, not for {_resource(user)!r}")
        if token.policy_name is not None:
            return self._check_policy(token, token.policy_name)
        return self._check_keys(token, user, authentication)

    def _check_policy(self, token: SasToken, name: str) -> Grant | Denial:
        if self._settings.disable_local_auth:
            return Denial(f"hub {self._settings.name} refuses tokens of shared access policies (disableLocalAuth)")
        policy = self._policies.get(name)
        if policy is None:
            return Denial(f"hub {self._settings.name} has no shared access policy {name[:64]!r}")
        if AccessRights.DEVICE_CONNECT not in policy.rights:
            return Denial(f"shared access policy {name} has no right DeviceConnect")
        if not _signed_by(token, policy.primary_key, policy.secondary_key):
            return Denial(f"SAS token is not signed with a key of the shared access policy {name}")
        return Grant(AuthMethod.HUB_POLICY, token.expires_at)

    def _check_keys(self, token: SasToken, user: UserName, authentication: Authentication) -> Grant | Denial:
        if authentication.type is not AuthenticationType.SAS:
            return Denial(f"{user.client_id} is registered with {authentication.type}, but presents a SAS token")
        is_module = user.module_id is not None
        if self._settings.disable_module_sas if is_module else self._settings.disable_device_sas:
            switch = "disableModuleSAS" if is_module else "disableDeviceSAS"
            return Denial(f"hub {self._settings.name} refuses tokens of this kind ({switch})")
        if not _signed_by(token, authentication.primary_key, authentication.secondary_key):
            return Denial(f"SAS token is signed with neither key of {user.client_id}")
        return Grant(AuthMethod.MODULE_KEY if is_module else AuthMethod.DEVICE_KEY, token.expires_at)


def covers(resource: str, user: UserName) -> bool:
    """Tell whether a token's raw `sr` is a segment-wise prefix of the device's endpoint.

    The host is not compared: clients that are told a host with a port sign that. SDKs differ in whether they encode
    the ID before they encode the whole, or encode nothing, so the text counts as sent, decoded once, or twice.

    Source: authenticate-authorize-sas.md, prefix rule (documented); encodings (sdk).
    """
    once = unquote(resource)
    return any(_is_prefix(text, _resource(user)) for text in (once, unquote(once), resource))


def _is_prefix(text: str, endpoint: str) -> bool:
    host, *segments = text.rstrip("/").split("/")
    # A host with an escape in it is a whole resource that is still encoded, not a hub-wide one.
    return "%" not in host and segments == endpoint.split("/")[: len(segments)]


def _resource(user: UserName) -> str:
    if user.module_id is None:
        return f"devices/{user.device_id}"
    return f"devices/{user.device_id}/modules/{user.module_id}"


def _signed_by(token: SasToken, *keys: str | None) -> bool:
    return any(verify_sas_signature(token, key) for key in keys if key is not None)
