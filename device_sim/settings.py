"""Where the services are and how a device speaks to them."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from certs.keys import KeyType

GLOBAL_DPS_HOST = "global.azure-devices-provisioning.net"
MQTT_TLS_PORT = 8883


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """The settings that all devices of a run share; the defaults are Azure's.

    `ca_file` holds the trust anchors for the servers' certificates, None takes the system's. A hub is dialled under
    the name that DPS assigned, unless `gateway_host_name` stands in for it (Azure's GatewayHostName: the connection
    and its certificate are the gateway's, the user name keeps the hub). `timeout_seconds` bounds each wait for an
    answer, `operation_timeout_seconds` a whole registration or renewal.
    """

    id_scope: str
    dps_host: str = GLOBAL_DPS_HOST
    dps_port: int = MQTT_TLS_PORT
    hub_port: int = MQTT_TLS_PORT
    gateway_host_name: str = ""
    ca_file: Path | None = None
    dps_api_version: str = "2025-07-01-preview"
    hub_api_version: str = "2025-08-01-preview"
    request_certificate: bool = True
    key_type: KeyType = KeyType.P256
    clean_session: bool = False
    keep_alive_seconds: int = 120
    timeout_seconds: float = 30
    operation_timeout_seconds: float = 180
    sas_lifetime: timedelta = timedelta(hours=1)
    client_version: str = "hublet-device/0.1"
