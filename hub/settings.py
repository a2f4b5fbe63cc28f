"""What one hub is configured with."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class HubSettings:
    """What a hub is configured with.

    Attributes:
        name: short and unique in the process; tables, streams and session keys begin with it.
        host_name: the name devices dial and DPS assigns.
        aliases: further host names of the same hub.
        namespace: the ADR namespace it is linked to; None has no certificate management.
        partition_count: partitions of the event log, 1–32; changing it moves devices to other partitions.
        max_subscriptions: topic filters one connection may hold.
        max_message_bytes: the largest device-to-cloud message, counted as Azure counts.
        c2d_time_to_live: how long a cloud-to-device message that names no expiry waits for its device.
        c2d_max_delivery_count: how often such a message may be abandoned before it is dead-lettered.
        deliver_earlier_messages: deliver messages that came before the device subscribed, too.
        issuing_delay: time between the two answers to a certificate request; zero answers both at once.
        operation_lifetime: how long a certificate request, and then its result, is kept.
        disable_local_auth: refuse tokens of shared access policies.
        disable_device_sas: refuse tokens of device keys.
        disable_module_sas: refuse tokens of module keys.
        disconnect_expired_certificates: end a connection when the certificate it was made with expires.
        bare_certificate_array: answer a renewal with a JSON array alone, as a preview of the embedded C SDK expects.
        strict: what Azure documents instead of what its samples do (RSA keys, old api-versions).
    """

    name: str
    host_name: str
    aliases: tuple[str, ...] = ()
    namespace: str | None = None
    partition_count: int = 2
    max_subscriptions: int = 5
    max_message_bytes: int = 262_144
    c2d_time_to_live: timedelta = timedelta(hours=1)
    c2d_max_delivery_count: int = 10
    deliver_earlier_messages: bool = False
    issuing_delay: timedelta = timedelta(0)
    operation_lifetime: timedelta = timedelta(hours=12)
    disable_local_auth: bool = False
    disable_device_sas: bool = False
    disable_module_sas: bool = False
    disconnect_expired_certificates: bool = False
    bare_certificate_array: bool = False
    strict: bool = False
