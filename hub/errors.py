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


class GenericUnauthorized(HubError):
    """401000: no Authorization header, or none that can be read."""

    code = 401000


class IotHubNotFound(HubError):
    """401001: no hub has this name."""

    code = 401001


class IotHubUnauthorizedAccess(HubError):
    """401002: the policy of the token has not the right that the request needs."""

    code = 401002


class IotHubUnauthorized(HubError):
    """401003: the token is expired, for something else, or not signed with a key of its policy."""

    code = 401003


class GenericForbidden(HubError):
    """403000: more of something than a hub holds."""

    code = 403000


class DeviceMaximumQueueDepthExceeded(HubError):
    """403004: the device has as many cloud-to-device messages waiting as it may have."""

    code = 403004


class InvalidMessageExpiryTime(HubError):
    """403009: a message would expire in the past, or too late."""

    code = 403009


class OperationNotAvailableInCurrentTier(HubError):
    """403010: the hub has no namespace, so it has no certificate management."""

    code = 403010


class DeviceMaximumInflightMethodExceeded(HubError):
    """403800: too many calls of methods of one device wait for their answers."""

    code = 403800


class GenericNotFound(HubError):
    """404000: there is no such resource."""

    code = 404000


class DeviceNotFound(HubError):
    """404001: no device with this ID."""

    code = 404001


class CertificateNotFound(HubError):
    """404008: no CA certificate with this name."""

    code = 404008


class ModuleNotFound(HubError):
    """404010: no module with this ID on the device."""

    code = 404010


class DeviceNotOnline(HubError):
    """404103: the device is not connected, or takes no method calls."""

    code = 404103


class DeviceConnectionClosedRemotely(HubError):
    """404104: the device went away in the middle of a method call (when the service says so is assumed)."""

    code = 404104


class GenericMethodNotAllowed(HubError):
    """405000: the resource has no such method."""

    code = 405000


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


class DeviceMessageLockLost(HubError):
    """412002: the message, or the feedback, is no longer locked with this token."""

    code = 412002


class CredentialManagementPreconditionFailed(HubError):
    """412005: the device has no policy in the namespace, so nobody can issue for it.

    Source: azure-iot-sdk-java feature/csr error enum (sdk); when the service sends it is assumed.
    """

    code = 412005


class MessageTooLarge(HubError):
    """413001: a message is over the size limit."""

    code = 413001


class ThrottlingException(HubError):
    """429001: more was asked of the service API than the hub's units allow.

    Source: azure-iot-sdk-csharp ErrorCode.ThrottlingException (sdk).
    """

    code = 429001


class ServerError(HubError):
    """500001: the hub failed, the request was right."""

    code = 500001


class GenericBadGateway(HubError):
    """502000: the device answered a method call with something that is no JSON (assumed)."""

    code = 502000


class GatewayTimeout(HubError):
    """504101: the device did not answer a method call in time."""

    code = 504101
