"""`hublet dev-ca`: onboarding certificates from the development CA, so that anyone can start."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from certs.authority import CertificateAuthority
from certs.keyfile import write_atomic, write_private
from certs.keys import KeyType, generate_key
from certs.pem import format_pem, format_private_key
from emulator.bootstrap import open_dev_ca
from emulator.clock_control import read_clock_file
from emulator.commands.options import STATE_DIRECTORY, CommandFailed, complain
from emulator.commands.registration_id import require_common_name
from emulator.state import StateDirectory

dev_ca = typer.Typer(help="Onboarding certificates from the development CA.", no_args_is_help=True)


@dev_ca.callback()
def _group() -> None:
    """Keep `issue` a word of its own."""


@dev_ca.command()
def issue(
    state_dir: STATE_DIRECTORY,
    registration_id: Annotated[str, typer.Option("--registration-id", help="Becomes the certificate's common name.")],
    out: Annotated[Path, typer.Option("--out", help="Directory for ID.key.pem and ID.chain.pem; made if missing.")],
    key_type: Annotated[KeyType, typer.Option("--key-type", help="Of the device's key.")] = KeyType.P256,
    days: Annotated[float, typer.Option("--days", min=0, help="How long it is valid.")] = 365,
) -> None:
    """Issue an onboarding certificate: ID.key.pem (mode 0600) and ID.chain.pem (leaf, then intermediate)."""
    with complain():
        state = StateDirectory(state_dir)
        authority = open_dev_ca(state.path)
        if authority is None:
            raise CommandFailed(f"{state.path} holds no development CA: run `hublet up` first")
        require_common_name(registration_id)
        now = read_clock_file(state.clock_file).now()
        key_file, chain_file = issue_onboarding(authority, registration_id, out, key_type, now, timedelta(days=days))
        typer.echo(f"{key_file}\n{chain_file}")


def issue_onboarding(
    authority: CertificateAuthority,
    registration_id: str,
    out: Path,
    key_type: KeyType,
    now: datetime,
    validity: timedelta,
) -> tuple[Path, Path]:
    """Make a key, have it certified, and write both; return the key's file and the chain's.

    Raises:
        OSError: a file cannot be written.
    """
    key = generate_key(key_type)
    leaf = authority.issue_onboarding(registration_id, key.public_key(), now, validity=validity)
    out.mkdir(parents=True, exist_ok=True)
    key_file, chain_file = out / f"{registration_id}.key.pem", out / f"{registration_id}.chain.pem"
    write_private(key_file, format_private_key(key))
    write_atomic(chain_file, format_pem(leaf, authority.certificate))
    return key_file, chain_file
