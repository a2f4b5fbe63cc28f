"""Where simulated devices go: the emulator that runs on a state directory, or any other endpoint."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from certs.authority import CertificateAuthority
from device_sim.dialer import system_now
from device_sim.settings import MQTT_TLS_PORT, DeviceSettings
from device_sim.shared_clock import SharedClock
from emulator.bootstrap import open_dev_ca
from emulator.commands.options import CommandFailed
from emulator.commands.remote import open_view
from emulator.state import StateDirectory


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How to reach a DPS; a local emulator's also knows the credentials that it trusts.

    `service` is what `hublet info` tells of the local emulator's DPS, None for any other endpoint. `clock_url` is where
    devices read its clock, None where the machine's counts.
    """

    settings: DeviceSettings
    state_dir: Path
    service: Mapping[str, Any] | None = field(default=None, repr=False)
    clock_url: str | None = None

    def clock(self) -> Callable[[], datetime]:
        """Give the clock that credentials are made by: the endpoint's as it is now, else the machine's.

        Raises:
            ClockUnreachable: it cannot be read.
        """
        return SharedClock.open(self.clock_url).now if self.clock_url is not None else system_now

    def dev_ca(self) -> CertificateAuthority:
        """Open the local emulator's development CA.

        Raises:
            CommandFailed: the endpoint is another one, or has none.
        """
        if self.service is None:
            raise CommandFailed("a development CA is only there for the local emulator: name another credential")
        authority = open_dev_ca(StateDirectory(self.state_dir).path)
        if authority is None:
            raise CommandFailed(f"{self.state_dir} holds no development CA: name another credential")
        return authority

    def group_key(self) -> str:
        """Find the key of the local emulator's first symmetric-key enrollment group.

        Raises:
            CommandFailed: the endpoint is another one, or has no such group.
        """
        groups = self.service["enrollmentGroups"] if self.service is not None else ()
        key = next((str(group["primaryKey"]) for group in groups if "primaryKey" in group), None)
        if key is None:
            where = "the local emulator's DPS has" if self.service is not None else "there is"
            raise CommandFailed(f"{where} no symmetric-key group to take the key of: give it in the credential")
        return key


def find_endpoint(
    state_dir: Path, host: str | None, id_scope: str | None, port: int | None, ca_file: Path | None
) -> Endpoint:
    """Find the endpoint that the options name: without a host the emulator that runs on the state directory.

    Raises:
        CommandFailed: no emulator runs there, or the options are not enough.
        StoreError: the state cannot be read.
    """
    if host is not None:
        if id_scope is None:
            raise CommandFailed("--host needs --id-scope")
        number = port or MQTT_TLS_PORT
        return Endpoint(DeviceSettings(id_scope, host, number, number, ca_file=ca_file), state_dir)
    with open_view(state_dir) as view:
        information = view.information()
    if information["ports"] is None:
        raise CommandFailed(f"no emulator runs on {state_dir}: start `hublet up`, or name another endpoint with --host")
    number = port or information["ports"]["mqtt"]
    anchors = ca_file or (Path(information["serverCaFile"]) if information["serverCaFile"] else None)
    services = information["provisioningServices"]
    service = next((each for each in services if id_scope in (None, each["idScope"])), services[0])
    settings = DeviceSettings(id_scope or service["idScope"], service["hostNames"][0], number, number, ca_file=anchors)
    return Endpoint(settings, state_dir, service, f"http://127.0.0.1:{information['ports']['control']}/clock")
