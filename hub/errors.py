"""The errors of an IoT Hub, one class per Azure error code; only the edge renders them.

Rules for editing: one class per code, named as Azure names it; the first three digits of a code are its HTTP
status. Codes: troubleshoot-error-codes.md (documented) unless the class says otherwise.
"""

from collections.abc import Mapping
from typing import ClassVar


class HubError(Exception):
    """A request broke a rule of the hub; `info` goes into the `info` member of an MQTT error body."""

    code: ClassVar[int] = 500001

    def __init__(self, message: str, info: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.info = info

    @property
    def status(self) -> int:
        """The HTTP status of the error."""
        return self.code // 1000


class InvalidProtocolVersion(HubError):
    """400001: the api-version does not offer the operation."""

    code = 400001


class ArgumentInvalid(HubError):
    """400004: a field is missing, malformed or out of range."""

    code = 400004


class IotHubFormatError(HubError):
    """400006: a body is not JSON."""

    code = 400006


class CredentialOperationFailed(HubError):
    """400040: the issuing CA refused the certificate signing request.

    Source: 2025-08-01-preview SDK constant (sdk); a run against the service answered 400037 (observed).
    """

    code = 400040


class GenericForbidden(HubError):
    """403000: more of something than a hub holds."""

    code = 403000


class OperationNotAvailableInCurrentTier(HubError):
    """403010: the hub has no namespace, so it has no certificate management."""

    code = 403010


class DeviceNotFound(HubError):
    """404001: no device with this ID."""

    code = 404001


class CertificateNotFound(HubError):
    """404008: no CA certificate with this name."""

    code = 404008


class ModuleNotFound(HubError):
    """404010: no module with this ID on the device."""

    code = 404010


class DeviceAlreadyExists(HubError):
    """409001: the device ID is taken."""

    code = 409001


class CredentialOperationPending(HubError):
    """409004: a credential management operation of this device is still pending.

    Source: csr-scenarions.md (observed); newer SDKs also know 409005.
    """

    code = 409004


class ModuleAlreadyExistsOnDevice(HubError):
    """409301: the module ID is taken."""

    code = 409301


class PreconditionFailed(HubError):
    """412001: the named ETag or request is not the present one."""

    code = 412001


class CredentialManagementPreconditionFailed(HubError):
    """412005: the device has no policy in the namespace, so nobody can issue for it.

    Source: azure-iot-sdk-java feature/csr error enum (sdk); when the service sends it is assumed.
    """

    code = 412005


class MessageTooLarge(HubError):
    """413001: a message is over the size limit."""

    code = 413001


class ServerError(HubError):
    """500001: the hub failed, the request was right."""

    code = 500001
