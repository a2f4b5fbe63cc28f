"""The user name of a hub CONNECT: which device or module, with which api-version and options."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from hub.identity import DEVICE_ID


class UserNameError(ValueError):
    """The text is not a hub user name; the message says which part is wrong."""


@dataclass(frozen=True, slots=True)
class UserName:
    """A parsed user name; `options` are percent-decoded, unknown ones included."""

    host: str
    device_id: str
    module_id: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def client_id(self) -> str:
        """The MQTT client ID that goes with this user name."""
        return f"{self.device_id}/{self.module_id}" if self.module_id else self.device_id

    @property
    def api_version(self) -> str:
        """The api-version, empty when there is none; any value is accepted."""
        return self.options.get("api-version", "")

    @property
    def model_id(self) -> str | None:
        """The DTMI of the device's model, if it announced one."""
        return self.options.get("model-id")


def parse_user_name(text: str) -> UserName:
    """Read `{hub}/{device}[/{module}]/?api-version=…&…` and its older forms.

    Also read are `{hub}/{device}[/{module}]/api-version=…[/DeviceClientType=…]` and `{hub}/{device}[/]`. IDs are
    never percent-encoded; `?` is legal in them, so the options begin at a segment, not at a character.

    Raises:
        UserNameError: too few or too many segments, an empty host, or a malformed device or module ID.

    Source: edgeHub MqttUsernameParser.cs (sdk); a user name without options: authenticate-authorize-sas.md samples
    (documented).
    """
    segments = text.split("/")
    count = _identity_segments(segments)
    host, *ids = segments[:count] or [""]
    if not host or not ids or len(ids) > 2:
        raise UserNameError(f"user name {text[:300]!r} is not {{hub}}/{{device}}[/{{module}}]/?api-version=…")
    for identifier in ids:
        if not DEVICE_ID.fullmatch(identifier):
            raise UserNameError(f"{identifier[:140]!r} in the user name is not 1–128 of A-Za-z0-9-:.+%_#*?!(),=@;$'")
    query = "/".join(segments[count:]).removeprefix("?").replace("/DeviceClientType=", "&DeviceClientType=")
    return UserName(host, ids[0], ids[1] if len(ids) == 2 else None, _parse_options(query))


def _identity_segments(segments: list[str]) -> int:
    """Count the segments before the options."""
    last = len(segments) - 1
    if last >= 2 and (segments[last] == "" or segments[last].startswith("?")):
        return last
    for index in range(2, len(segments)):
        if segments[index].startswith(("api-version=", "?api-version=")):
            return index
    # Three bare segments could be a module or garbage: only a device may do without options.
    return len(segments) if len(segments) == 2 else 0


def _parse_options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name:
            options.setdefault(unquote(name), unquote(value))
    return options
