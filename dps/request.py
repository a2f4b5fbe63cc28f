"""The body of a registration, read into types."""

import json
import logging
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from certs.csr import CsrError, decode_csr
from dps.api_version import ApiVersion
from dps.errors import BadRequest, DeserializationError
from dps.json_members import JsonObject, optional_object, optional_text, require_object
from dps.registration_id import registration_key

log = logging.getLogger("dps")

# Source: about-iot-dps.md §quotas (documented).
MAX_BODY_BYTES = 96 * 1024
CSR = "csr"
PEM_CSR = "clientCertificateCsr"
_PEM = re.compile(
    r"\s*-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----\s(.*)\s-----END (?:NEW )?CERTIFICATE REQUEST-----\s*", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class RegisterRequest:
    """What a device asks for; `csr` is DER that decoded, and nothing more was checked yet."""

    csr: bytes | None = None
    payload: JsonObject | None = None


def parse_register_request(
    body: bytes, registration_id: str, api_version: ApiVersion, *, strict: bool = False
) -> RegisterRequest:
    """Read the body of a registration: nothing, blanks, or a JSON object whose members are all optional.

    A CSR under an api-version that has none is ignored with a warning, or refused when `strict`.

    Raises:
        BadRequest: the body has more than 98,304 bytes, or names another registration ID.
        DeserializationError: it is not UTF-8 JSON, a member has the wrong type, or the CSR is not base64 DER.

    Source: azure-rest-api-specs DPS device/models.tsp (documented); empty bodies and null members as SDKs send
    them (sdk). That a wrong registration ID, a payload that is no object and a body `null` are refused is assumed.
    """
    if len(body) > MAX_BODY_BYTES:
        raise BadRequest(f"the body has {len(body)} bytes; at most {MAX_BODY_BYTES} are allowed")
    if not body.strip():
        return RegisterRequest()
    document = require_object(_load(body), "the body")
    claimed = optional_text(document, "registrationId")
    if claimed is not None and registration_key(claimed) != registration_key(registration_id):
        raise BadRequest(f"registrationId {claimed[:140]!r} is not the {registration_id!r} of the user name")
    csr = _read_csr(document, registration_id, api_version, strict=strict)
    return RegisterRequest(csr, optional_object(document, "payload"))


def _load(body: bytes) -> Any:
    try:
        return json.loads(body.decode(), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise DeserializationError("the body is not UTF-8") from None
    except ValueError as error:
        raise DeserializationError(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise DeserializationError("the body is nested too deeply") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _read_csr(document: JsonObject, registration_id: str, api_version: ApiVersion, *, strict: bool) -> bytes | None:
    csr: bytes | None = None
    for member, is_offered in ((CSR, api_version.takes_csr), (PEM_CSR, api_version.takes_pem_csr)):
        text = optional_text(document, member)
        if text is None:
            continue
        if is_offered:
            csr = _decode(text if member == CSR else _strip_armour(text))
        elif strict:
            raise DeserializationError(f"api-version {api_version.text} has no {member}")
        else:
            log.warning("device %s: api-version %s has no %s, ignored", registration_id, api_version.text, member)
    return csr


def _decode(text: str) -> bytes:
    try:
        return decode_csr(text)
    except CsrError as error:
        raise DeserializationError(str(error)) from None


def _strip_armour(pem: str) -> str:
    """Return the base64 inside a PEM request, which the 2021 preview sends as it stands in the file.

    Source: azure-iot-sdk-csharp branch previews/dpsClientCertificates, E2E tests (sdk).
    """
    armoured = _PEM.fullmatch(pem)
    if armoured is None:
        raise DeserializationError(f"{PEM_CSR} is not a certificate request in PEM")
    return "".join(armoured[1].split())
