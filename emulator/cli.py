"""The command line of hublet."""

import typer

from emulator.commands.adr import adr
from emulator.commands.audit import audit
from emulator.commands.c2d import c2d
from emulator.commands.ca import ca
from emulator.commands.clock import clock
from emulator.commands.demo import demo
from emulator.commands.dev_ca import dev_ca
from emulator.commands.device import device
from emulator.commands.events import events
from emulator.commands.fault import fault
from emulator.commands.fleet import fleet
from emulator.commands.inspect import env, hosts, info
from emulator.commands.method import method
from emulator.commands.quota import quota
from emulator.commands.reset import reset
from emulator.commands.twin import twin
from emulator.commands.up import up

app = typer.Typer(
    name="hublet",
    help="Azure IoT Hub, Device Provisioning Service and certificate management on one laptop.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(up)
app.command()(info)
app.command()(env)
app.command()(hosts)
app.command()(events)
app.command()(audit)
app.command()(demo)
app.command()(reset)
app.add_typer(clock, name="clock")
app.add_typer(adr, name="adr")
app.add_typer(ca, name="ca")
app.add_typer(dev_ca, name="dev-ca")
app.add_typer(device, name="device")
app.add_typer(fleet, name="fleet")
app.add_typer(twin, name="twin")
app.add_typer(method, name="method")
app.add_typer(c2d, name="c2d")
app.add_typer(fault, name="fault")
app.add_typer(quota, name="quota")


def main() -> None:
    """Run the command that the process was called with."""
    app()
