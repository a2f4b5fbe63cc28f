"""The device identifier in an operational certificate: a SAN URI `urn:uuid:…`.

The hub compares it with the registry at every connect; revocation changes it in the registry.
Source: Microsoft Learn, certificate policy management, revocation (documented); its form in the SAN is assumed.
"""

from uuid import UUID

from cryptography import x509

from certs.extensions import MalformedCertificate, extension_of

_PREFIX = "urn:uuid:"


def format_identifier(identifier: UUID) -> str:
    """Write an identifier as the URI that the certificate carries."""
    return f"{_PREFIX}{identifier}"


def parse_identifier(uri: str) -> UUID | None:
    """Read an identifier from such a URI; None for any other URI or spelling."""
    try:
        identifier = UUID(uri.removeprefix(_PREFIX))
    except ValueError:
        return None
    return identifier if format_identifier(identifier) == uri else None


def device_identifier(certificate: x509.Certificate) -> UUID | None:
    """Read the identifier of a certificate; None when it has none, more than one, or cannot be decoded."""
    try:
        names = extension_of(certificate, x509.SubjectAlternativeName)
    except MalformedCertificate:
        return None
    if names is None:
        return None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    identifiers = [identifier for uri in uris if (identifier := parse_identifier(uri)) is not None]
    return identifiers[0] if len(identifiers) == 1 else None
