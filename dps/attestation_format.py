"""Attestation mechanisms as JSON, the form of the service API and of the store."""

import base64
from typing import Any

from dps.attestation_mechanism import (
    Attestation,
    AttestationType,
    EnrolledCertificate,
    SymmetricKeyAttestation,
    X509CaReferences,
    X509ClientCertificates,
    X509SigningCertificates,
    check_key,
    generate_key,
    parse_enrolled_certificate,
)
from dps.certificate_info import describe_certificate, format_certificate_info
from dps.errors import BadRequest
from dps.json_members import JsonObject, optional_choice, optional_object, optional_text, require_object, require_text


def parse_attestation(document: JsonObject, *, group: bool) -> Attestation:
    """Read an attestation mechanism; keys that are absent are generated.

    Raises:
        BadRequest: the type is not offered, or a key or certificate is missing or malformed.
        DeserializationError: a member has the wrong JSON type.

    Source: azure-rest-api-specs DPS service/models.tsp (documented).
    """
    match optional_choice(document, "type", AttestationType):
        case AttestationType.SYMMETRIC_KEY:
            return _parse_symmetric_key(optional_object(document, "symmetricKey") or {})
        case AttestationType.X509:
            return _parse_x509(require_object(document.get("x509"), "attestation.x509"), group=group)
        case _:
            raise BadRequest("attestation.type is required")


def format_attestation(attestation: Attestation) -> JsonObject:
    """Write an attestation mechanism with its keys, as the attestationmechanism call and the store do."""
    match attestation:
        case SymmetricKeyAttestation(primary, secondary):
            keys = {"primaryKey": primary, "secondaryKey": secondary}
            return {"type": AttestationType.SYMMETRIC_KEY.value, "symmetricKey": keys}
        case X509ClientCertificates(primary, secondary):
            return _x509("clientCertificates", _certificates(primary, secondary))
        case X509SigningCertificates(primary, secondary):
            return _x509("signingCertificates", _certificates(primary, secondary))
        case _:
            return _x509("caReferences", {"primary": attestation.primary, "secondary": attestation.secondary})


def _parse_symmetric_key(keys: JsonObject) -> SymmetricKeyAttestation:
    primary = optional_text(keys, "primaryKey") or generate_key()
    secondary = optional_text(keys, "secondaryKey") or generate_key()
    check_key("primaryKey", primary)
    check_key("secondaryKey", secondary)
    return SymmetricKeyAttestation(primary, secondary)


def _parse_x509(document: JsonObject, *, group: bool) -> Attestation:
    references = optional_object(document, "caReferences")
    if references is not None:
        return X509CaReferences(require_text(references, "primary"), optional_text(references, "secondary"))
    if group:
        return X509SigningCertificates(*_parse_certificates(document, "signingCertificates"))
    return X509ClientCertificates(*_parse_certificates(document, "clientCertificates"))


def _parse_certificates(document: JsonObject, name: str) -> tuple[EnrolledCertificate, EnrolledCertificate | None]:
    certificates = require_object(document.get(name), f"x509.{name}")
    primary = _parse_certificate(certificates, name, "primary")
    if primary is None:
        raise BadRequest(f"x509.{name}.primary is required")
    return primary, _parse_certificate(certificates, name, "secondary")


def _parse_certificate(certificates: JsonObject, name: str, which: str) -> EnrolledCertificate | None:
    document = optional_object(certificates, which)
    if document is None:
        return None
    return parse_enrolled_certificate(f"x509.{name}.{which}", require_text(document, "certificate"))


def _x509(name: str, document: JsonObject) -> JsonObject:
    return {"type": AttestationType.X509.value, "x509": {name: document}}


def _certificates(primary: EnrolledCertificate, secondary: EnrolledCertificate | None) -> JsonObject:
    return {"primary": _certificate(primary), "secondary": _certificate(secondary) if secondary else None}


def _certificate(enrolled: EnrolledCertificate) -> dict[str, Any]:
    return {
        "certificate": base64.b64encode(enrolled.der).decode(),
        "info": format_certificate_info(describe_certificate(enrolled.certificate)),
    }
