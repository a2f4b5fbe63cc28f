"""Who may connect to a hub: the decision on one CONNECT, made before any session is looked at."""

from dataclasses import dataclass, replace
from datetime import datetime

from adr.registry import AdrRegistry
from broker.gateway import ConnectRequest
from certs.peer import PeerChain
from hub.certificate_access import CertificateAccess
from hub.certificates import HubCertificates
from hub.grant import Denial, Grant
from hub.identity import Authentication, AuthenticationType
from hub.policies import SharedAccessPolicies
from hub.registry import DeviceRegistry
from hub.sas_access import SasAccess
from hub.settings import HubSettings
from hub.user_name import UserName, UserNameError, parse_user_name


@dataclass(frozen=True, slots=True)
class Admission:
    """A CONNECT that is accepted: who it is, how that was proven, and in which generation of the identity."""

    user: UserName
    grant: Grant
    generation_id: str


class Access:
    """Decides from a connection's own credentials."""

    def __init__(
        self,
        settings: HubSettings,
        registry: DeviceRegistry,
        certificates: HubCertificates,
        policies: SharedAccessPolicies,
        adr: AdrRegistry,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._sas = SasAccess(settings, policies)
        self._certificates = CertificateAccess(settings, certificates, adr)

    def decide(self, request: ConnectRequest, now: datetime) -> Admission | Denial:
        """Admit or deny a CONNECT: user name, client ID, identity, status, then credential.

        The host in the user name is not compared; the router has used it.

        Source: iot-mqtt-connect-to-iot-hub.md (documented); client ID against identity: edgeHub (sdk).
        """
        try:
            user = parse_user_name(request.user_name)
        except UserNameError as error:
            return Denial(str(error))
        if request.client_id != user.client_id:
            return Denial(f"client ID {request.client_id[:260]!r} is not {user.client_id!r}, the one of the user name")
        identity = self._identity(user)
        if isinstance(identity, Denial):
            return identity
        authentication, generation_id = identity
        grant = self._authenticate(user, authentication, request, now)
        return grant if isinstance(grant, Denial) else Admission(user, grant, generation_id)

    def _identity(self, user: UserName) -> tuple[Authentication, str] | Denial:
        device = self._registry.get(user.device_id)
        if device is None:
            return Denial(f"device {user.device_id!r} is not registered in hub {self._settings.name}")
        if not device.enabled:
            return Denial(f"device {user.device_id} is disabled in hub {self._settings.name}: {device.status_reason}")
        if user.module_id is None:
            return device.authentication, device.generation_id
        module = self._registry.get_module(user.device_id, user.module_id)
        if module is None:
            return Denial(f"device {user.device_id} has no module {user.module_id!r} in hub {self._settings.name}")
        return module.authentication, module.generation_id

    def _authenticate(
        self, user: UserName, authentication: Authentication, request: ConnectRequest, now: datetime
    ) -> Grant | Denial:
        if request.password:
            return self._sas.check(user, authentication, request.password, now)
        match authentication.type:
            case AuthenticationType.SELF_SIGNED:
                grant = self._certificates.check_thumbprint(user, authentication, request.peer_chain, now)
                return self._limited(grant, request.peer_chain)
            case AuthenticationType.CERTIFICATE_AUTHORITY:
                grant = self._certificates.check_authority(user, request.peer_chain, now)
                return self._limited(grant, request.peer_chain)
        return Denial(f"{user.client_id} is registered with {authentication.type}, but presents no SAS token")

    def _limited(self, grant: Grant | Denial, chain: PeerChain) -> Grant | Denial:
        """End the connection with its certificate, where the hub is set to.

        Source: that a connection outlives its certificate unless the hub is set otherwise is assumed.
        """
        if isinstance(grant, Denial) or not self._settings.disconnect_expired_certificates:
            return grant
        assert chain.leaf is not None, "granted by its certificate"
        return replace(grant, expires_at=chain.leaf.not_valid_after_utc)
