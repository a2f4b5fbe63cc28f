"""Finds the gateway behind the shared front door from the form of a CONNECT's user name."""

from collections.abc import Mapping

from broker.gateway import AnyGateway, ConnectReturnCode, Refusal

_REGISTRATIONS = "registrations"


class Router:
    """The gateways of one front door: DPS instances by ID scope, hubs by host name.

    Args:
        scopes: DPS gateways by ID scope.
        hosts: hub gateways by host name and alias, in lower case.
    """

    def __init__(self, scopes: Mapping[str, AnyGateway], hosts: Mapping[str, AnyGateway]) -> None:
        self._scopes = {scope.lower(): gateway for scope, gateway in scopes.items()}
        self._hosts = {host.lower(): gateway for host, gateway in hosts.items()}

    def gateways(self) -> list[AnyGateway]:
        """Each gateway once."""
        return list(dict.fromkeys([*self._scopes.values(), *self._hosts.values()]))

    def substitute(self, replacements: Mapping[AnyGateway, AnyGateway]) -> None:
        """Put other gateways in the place of these; the rest stay."""
        for table in (self._scopes, self._hosts):
            table.update({name: replacements.get(gateway, gateway) for name, gateway in table.items()})

    def find(self, user_name: str) -> AnyGateway | Refusal:
        """Choose by `{hub}/{device}…` or `{idScope}/registrations/{id}/…`.

        A hub's port in the user name is ignored: a client that was told a host with a port repeats it.

        Source: iot-mqtt-connect-to-iot-hub, iot-mqtt-connect-to-iot-dps (documented).
        """
        first, _, rest = user_name.partition("/")
        hub = self._hosts.get(first.lower()) or self._hosts.get(_without_port(first).lower())
        if hub is not None:
            return hub
        scope = self._scopes.get(first.lower())
        if scope is not None:
            return scope
        if rest.startswith(f"{_REGISTRATIONS}/"):
            return _refusal(f"no DPS instance has the ID scope {first!r}; known: {_names(self._scopes)}")
        if not rest:
            return _refusal(f"user name {user_name!r} is neither {{hub}}/{{device}}/… nor {{idScope}}/registrations/…")
        return _refusal(f"no hub has the host name {first!r}; known: {_names(self._hosts)}")


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _names(known: Mapping[str, AnyGateway]) -> str:
    return ", ".join(sorted(known)) or "none"


def _refusal(reason: str) -> Refusal:
    return Refusal(ConnectReturnCode.NOT_AUTHORIZED, reason)
