"""The MQTT user name of a device that connects to DPS."""

from dataclasses import dataclass
from urllib.parse import quote, unquote

from dps.api_version import ApiVersion, parse_api_version
from dps.registration_id import MAX_CHARACTERS, is_registration_id

_FORM = "{idScope}/registrations/{registrationId}/api-version={version}[&ClientVersion={agent}]"


class UserNameError(ValueError):
    """The user name is not of the form DPS knows; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class UserName:
    """Who wants to register where, as written in CONNECT."""

    id_scope: str
    registration_id: str
    api_version: ApiVersion
    client_version: str | None = None


def parse_user_name(text: str) -> UserName:
    """Read `{idScope}/registrations/{registrationId}/api-version=…&ClientVersion=…`.

    What follows the third slash is a query; unknown keys are tolerated, the first of a repeated key counts.

    Raises:
        UserNameError: another form, a bad registration ID, or no api-version.

    Source: iot-mqtt-connect-to-iot-dps.md (documented); what is tolerated, and that the scope's case
    counts, is assumed.
    """
    parts = text.split("/", 3)
    if len(parts) != 4 or parts[1] != "registrations" or not parts[0]:
        raise UserNameError(f"user name {text[:200]!r} is not {_FORM}")
    id_scope, _, registration_id, query = parts
    if not is_registration_id(registration_id):
        raise UserNameError(
            f"registration ID {registration_id[:MAX_CHARACTERS]!r} is not 1 to {MAX_CHARACTERS} letters, digits or "
            "'-._:' ending in a letter, a digit or a dash"
        )
    fields = _query_fields(query)
    version = fields.get("api-version")
    if not version:
        raise UserNameError(f"user name of {registration_id} has no api-version; it is {_FORM}")
    try:
        api_version = parse_api_version(version)
    except ValueError as error:
        raise UserNameError(str(error)) from None
    return UserName(id_scope, registration_id, api_version, fields.get("ClientVersion"))


def format_user_name(user_name: UserName) -> str:
    """Write the user name the way the Python SDK orders it."""
    text = f"{user_name.id_scope}/registrations/{user_name.registration_id}/api-version={user_name.api_version.text}"
    if user_name.client_version is None:
        return text
    return f"{text}&ClientVersion={quote(user_name.client_version, safe='')}"


def _query_fields(query: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        fields.setdefault(name, unquote(value))
    return fields
