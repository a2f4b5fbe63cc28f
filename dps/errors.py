"""One class per error DPS answers with: its code, and its text on the wire.

Editing rules: the first three digits of `error_code` are the HTTP status. `wire_message` is fixed where Azure's text is
known, or where the reason is nobody's business but the log's; otherwise the exception's own text goes out.
"""

from typing import ClassVar


class DpsError(Exception):
    """A violated rule; its text names the value, the limit and the rule, and never holds a key or a signature."""

    error_code: ClassVar[int]
    wire_message: ClassVar[str] = ""

    @property
    def status(self) -> int:
        """The HTTP status, also the status of the MQTT response topic."""
        return self.error_code // 1000

    @property
    def message(self) -> str:
        """What the device or the caller may read."""
        return self.wire_message or str(self)


class BadRequest(DpsError):
    """The body breaks a rule that has no code of its own. Code: assumed."""

    error_code = 400000


class NamespaceRequired(DpsError):
    """An enrollment names a credential policy and this DPS has no ADR namespace. Code and text: observed."""

    error_code = 400004
    wire_message = "A Device Registry Namespace is required to be set on this DPS instance"


class DeserializationError(DpsError):
    """The body, or a key of it, is not what its type says; also a CSR that is not base64 DER. Code: observed."""

    error_code = 400012
    wire_message = "Deserialization error"


class CsrRefused(DpsError):
    """A CSR decodes, but the credential policy does not accept it. Code: assumed, borrowed from IoT Hub."""

    error_code = 400040


class NoHubAvailable(DpsError):
    """No linked hub is left to choose from. Code: assumed (Azure uses it when an allocation chose no hub)."""

    error_code = 400208


class Unauthorized(DpsError):
    """The SAS token, or the lack of any credential, does not prove the registration ID. Code and text: observed."""

    error_code = 401000
    wire_message = "Unauthorized"


class InvalidCertificate(DpsError):
    """The presented certificate is not acceptable for the registration ID. Code and text: observed."""

    error_code = 401002
    wire_message = "Invalid certificate."


class CaCertificateNotFound(DpsError):
    """The presented chain leads to no certificate that an enrollment trusts. Code and text: observed."""

    error_code = 401002
    wire_message = "CA certificate not found."


class RegistryRefused(DpsError):
    """The device registry (ADR) did not register the device or issue a certificate. Code: observed."""

    error_code = 403000


class EnrollmentNotFound(DpsError):
    """No enrollment has this ID. Code: observed."""

    error_code = 404201


class RegistrationNotFound(DpsError):
    """No registration has this ID. Code: assumed (404201 or 404202 in Azure)."""

    error_code = 404202


class CertificateNotFound(DpsError):
    """No CA certificate of this DPS has this name. Code: assumed."""

    error_code = 404203


class OperationNotFound(DpsError):
    """No operation of this device has this ID; another device's does not exist either. Code: assumed."""

    error_code = 404204
    wire_message = "Operation not found"


class RegistrationInProgress(DpsError):
    """Another registration of this device is still being worked on. Status: sdk, code: assumed."""

    error_code = 409000


class EnrollmentConflict(DpsError):
    """The ID or signing certificate belongs to another enrollment already. Code: assumed."""

    error_code = 409001


class EtagMismatch(DpsError):
    """If-Match names another version than the present one. Status: documented, code: assumed."""

    error_code = 412000
