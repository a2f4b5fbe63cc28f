"""What can go wrong in a device's life; `reason` is the short form a fleet counts by."""


class DeviceError(Exception):
    """Something kept the device from its purpose."""

    @property
    def reason(self) -> str:
        """The kind of failure in a few words, the same for every device that meets it."""
        return type(self).__name__


class ServerUnreachable(DeviceError):
    """No TCP connection or no TLS handshake with a server."""


class ServerNotTrusted(DeviceError):
    """The server's certificate is not valid for its host name under the trust anchors."""


class ConnectionRefused(DeviceError):
    """The server answered CONNECT with a return code other than 0."""

    def __init__(self, peer: str, user_name: str, return_code: int) -> None:
        super().__init__(f"{peer} refused {user_name} with CONNACK {return_code} (MQTT 3.1.1 table 3.1)")
        self.return_code = return_code

    @property
    def reason(self) -> str:
        """The kind and the return code."""
        return f"ConnectionRefused {self.return_code}"


class ConnectionLost(DeviceError):
    """The connection ended while something was still to come."""


class RequestTimeout(DeviceError):
    """The server did not answer in time."""


class SubscriptionRefused(DeviceError):
    """SUBACK refused a topic filter."""


class UnexpectedResponse(DeviceError):
    """The server sent something that cannot be read as an answer."""


class NoCertificateIssued(DeviceError):
    """A registration with a CSR succeeded without a certificate: the enrollment names no policy."""


class CertificateMismatch(DeviceError):
    """An issued chain is incomplete or does not belong to the device's private key."""


class ServiceError(DeviceError):
    """A service answered with an error; `error_code` is Azure's six digits, `status` the HTTP-like status.

    `retry_after_seconds` is when it wants to be asked again, 0 if it did not say.
    """

    retry_after_seconds: float = 0

    def __init__(self, status: int, error_code: int, message: str, tracking_id: str = "") -> None:
        tracking = f", tracking ID {tracking_id}" if tracking_id else ""
        super().__init__(f"{error_code}: {message} (status {status}{tracking})")
        self.status = status
        self.error_code = error_code
        self.message = message
        self.tracking_id = tracking_id

    @property
    def reason(self) -> str:
        """The kind and Azure's error code."""
        return f"{type(self).__name__} {self.error_code}"


class ProvisioningError(ServiceError):
    """DPS refused a registration, or it ended as `failed` or `disabled`."""


class CredentialError(ServiceError):
    """The hub refused a renewal; `info` is what it added."""

    def __init__(
        self, status: int, error_code: int, message: str, tracking_id: str = "", info: dict[str, str] | None = None
    ) -> None:
        super().__init__(status, error_code, message, tracking_id)
        self.info = info or {}
