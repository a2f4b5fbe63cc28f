"""What DPS remembers of one accepted connection, and forgets with it."""

from dataclasses import dataclass
from datetime import datetime

from dps.api_version import ApiVersion
from dps.credentials import Attested, Credentials
from dps.registration_id import registration_key


@dataclass(slots=True)
class DpsSession:
    """A connection of one device; nothing of it outlives the connection.

    `granted_qos` is None until the device subscribes to its answers; `attested` is None until it has been believed.
    """

    credentials: Credentials
    api_version: ApiVersion
    granted_qos: int | None = None
    attested: Attested | None = None

    @property
    def key(self) -> str:
        """Unique over all gateways; a second connection of the device takes over."""
        return f"dps/{self.credentials.id_scope}/{registration_key(self.credentials.registration_id)}"

    @property
    def device_id(self) -> str:
        """The registration ID, for logs."""
        return self.credentials.registration_id

    @property
    def session_present(self) -> bool:
        """Always False: DPS keeps no session, and the C# client fails when told otherwise.

        Source: iot-mqtt-connect-to-iot-dps.md (documented).
        """
        return False

    @property
    def expires_at(self) -> datetime | None:
        """When the SAS token expires; a certificate is not watched."""
        token = self.credentials.token
        return token.expires_at if token else None
