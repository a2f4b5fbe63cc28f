"""`hublet ca`: CA certificates of hubs and DPS, and the proof of possession by a verification code."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from emulator.commands.options import STATE_DIRECTORY, complain
from emulator.commands.remote import open_view

ca = typer.Typer(help="CA certificates that hubs and DPS trust beside their own.", no_args_is_help=True)

SERVICE = Annotated[str, typer.Argument(help="A hub's or DPS's name, such as hub1 or dps1.")]
NAME = Annotated[str, typer.Argument(help="The certificate's name there.")]
JSON = Annotated[bool, typer.Option("--json", help="For machines.")]


@ca.command()
def add(
    state_dir: STATE_DIRECTORY,
    service: SERVICE,
    name: NAME,
    file: Annotated[Path, typer.Argument(help="The CA certificate, PEM.")],
    verified: Annotated[bool, typer.Option("--verified", help="Trust it without proof of possession.")] = False,
    as_json: JSON = False,
) -> None:
    """Upload a CA certificate; without --verified it prints the code to prove possession with."""
    with complain(), open_view(state_dir) as view:
        added = view.add_upload(service, name, file.read_text(errors="replace"), is_verified=verified)
        _show(added, as_json=as_json)
        if "verificationCode" in added and not as_json:
            typer.echo(f"sign a certificate with CN={added['verificationCode']} with this CA, then:")
            typer.echo(f"  hublet ca verify {service} {name} CERTIFICATE")


@ca.command()
def verify(
    state_dir: STATE_DIRECTORY,
    service: SERVICE,
    name: NAME,
    file: Annotated[Path, typer.Argument(help="The certificate whose common name is the verification code, PEM.")],
    as_json: JSON = False,
) -> None:
    """Prove that you have the CA's private key; from then on the CA is trusted."""
    with complain(), open_view(state_dir) as view:
        _show(view.verify_upload(service, name, file.read_text(errors="replace")), as_json=as_json)


@ca.command("list")
def list_(state_dir: STATE_DIRECTORY, as_json: JSON = False) -> None:
    """Show the uploaded CA certificates of every hub and DPS."""
    with complain(), open_view(state_dir) as view:
        for each in view.uploads():
            _show(each, as_json=as_json)


@ca.command()
def remove(state_dir: STATE_DIRECTORY, service: SERVICE, name: NAME) -> None:
    """Forget a CA certificate."""
    with complain(), open_view(state_dir) as view:
        view.remove_upload(service, name)


def _show(described: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(described))
        return
    state = "verified" if described["isVerified"] else "not verified"
    typer.echo(f"{described['service']}/{described['name']}: {described['subject']}, {state}")
