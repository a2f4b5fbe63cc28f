"""What the management API refuses, as ARM error bodies: a code, a message, and the HTTP status beside it.

Rules for editing: one row per error of the core; codes are Azure's where a document or an SDK names them, else assumed.
"""

from typing import Any, Final

from adr import errors as adr

MAX_MESSAGE_CHARACTERS: Final = 1000


class ArmError(Exception):
    """A refusal, with its HTTP status and ARM code."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    def document(self) -> dict[str, Any]:
        """The body: `{"error": {"code", "message"}}`.

        Source: azure-rest-api-specs common types, ErrorResponse (documented).
        """
        return {"error": {"code": self.code, "message": str(self)[:MAX_MESSAGE_CHARACTERS]}}


_ERRORS: Final[dict[type[adr.AdrError], tuple[int, str]]] = {
    adr.NameInvalid: (400, "InvalidResourceName"),
    adr.ValidityOutOfRange: (400, "InvalidValidityPeriod"),
    adr.NamespaceNotFound: (404, "ResourceNotFound"),
    adr.NamespaceExists: (409, "ResourceAlreadyExists"),
    adr.NamespaceNotEmpty: (409, "NamespaceNotEmpty"),
    adr.CredentialNotFound: (404, "ResourceNotFound"),
    adr.CredentialExists: (409, "ResourceAlreadyExists"),
    adr.CredentialHasPolicies: (409, "CredentialHasPolicies"),
    adr.PolicyNotFound: (404, "ResourceNotFound"),
    adr.PolicyExists: (409, "ResourceAlreadyExists"),
    # Source: a deployment script of Microsoft's (observed).
    adr.PolicyRequiresIssuingCa: (409, "PolicyRequiresIssuingCa"),
    adr.AuthorityNotFound: (404, "ResourceNotFound"),
    adr.AuthorityExists: (409, "ResourceAlreadyExists"),
    adr.AuthorityHasPolicies: (409, "CertificateAuthorityHasPolicies"),
    adr.AuthorityNotActive: (409, "CertificateAuthorityNotActive"),
    # Source: certificateAuthorities.tsp: activate and revoke of the wrong type are 400 (documented).
    adr.AuthorityIsExternal: (400, "InvalidCertificateAuthorityType"),
    adr.AuthorityIsManaged: (400, "InvalidCertificateAuthorityType"),
    adr.CertificateChainInvalid: (400, "InvalidCertificateChain"),
    adr.DeviceNotFound: (404, "ResourceNotFound"),
    adr.IssuerExpired: (409, "IssuerExpired"),
    adr.IssuerKeyMissing: (500, "InternalServerError"),
}


def of_registry(error: adr.AdrError) -> ArmError:
    """Render an error of the core."""
    status, code = _ERRORS.get(type(error), (409, type(error).__name__))
    return ArmError(status, code, str(error))


def invalid(message: str) -> ArmError:
    """Say what is wrong with a body."""
    return ArmError(400, "InvalidRequestContent", message)


def not_found(message: str) -> ArmError:
    """Say that a resource is not there."""
    return ArmError(404, "ResourceNotFound", message)
