"""`hublet adr`: namespaces, credentials, policies and devices of the device registry."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from emulator.commands.arm_client import JSON, NAMESPACE, ArmClient
from emulator.commands.options import STATE_DIRECTORY, complain

adr = typer.Typer(help="The device registry: namespaces, credentials, policies, devices.", no_args_is_help=True)
namespace = typer.Typer(help="Namespaces.", no_args_is_help=True)
credential = typer.Typer(help="The root CA of a namespace.", no_args_is_help=True)
policy = typer.Typer(help="Credential policies, each with its issuing CA.", no_args_is_help=True)
device = typer.Typer(help="Devices and the certificates issued for them.", no_args_is_help=True)
adr.add_typer(namespace, name="namespace")
adr.add_typer(credential, name="credential")
adr.add_typer(policy, name="policy")
adr.add_typer(device, name="device")

NAME = Annotated[str, typer.Argument(help="Its name.")]
DEVICE = Annotated[str, typer.Argument(help="The device ID.")]
DAYS = Annotated[float | None, typer.Option("--validity-days", help="How long leaves live: 7 to 90 [30].")]
DEFAULT_NAMESPACE = "default"


@namespace.command("list")
def list_namespaces(state_dir: STATE_DIRECTORY, as_json: JSON = False) -> None:
    """List the namespaces with what is linked to them."""
    with complain():
        found = ArmClient(state_dir).every("namespaces")
        rows = [(each["name"], _linked(each, "messaging"), _linked(each, "provisioning")) for each in found]
        _print_list(found, ("namespace", "hubs", "DPS"), rows, as_json=as_json)


@namespace.command("show")
def show_namespace(name: NAME, state_dir: STATE_DIRECTORY) -> None:
    """Print a namespace."""
    with complain():
        _print(ArmClient(state_dir).ask("GET", "namespaces", name))


@namespace.command("create")
def create_namespace(
    name: NAME,
    state_dir: STATE_DIRECTORY,
    bare: Annotated[bool, typer.Option("--no-credential", help="Make no root CA.")] = False,
) -> None:
    """Make a namespace and its credential."""
    with complain():
        client = ArmClient(state_dir)
        client.ask("PUT", "namespaces", name, document={})
        if not bare:
            client.ask("PUT", "namespaces", name, "credentials", "default", document={})
        typer.echo(f"namespace {name} is there{'' if bare else ', with its root CA'}")


@namespace.command("delete")
def delete_namespace(name: NAME, state_dir: STATE_DIRECTORY) -> None:
    """Delete an empty namespace."""
    with complain():
        ArmClient(state_dir).ask("DELETE", "namespaces", name)
        typer.echo(f"namespace {name} is deleted")


@namespace.command("link")
def link(
    name: NAME,
    state_dir: STATE_DIRECTORY,
    hub: Annotated[list[str] | None, typer.Option("--hub", help="Name of a hub; repeat for more.")] = None,
    dps: Annotated[list[str] | None, typer.Option("--dps", help="Name of a DPS; repeat for more.")] = None,
    unlink: Annotated[bool, typer.Option("--unlink", help="Unlink them instead.")] = False,
) -> None:
    """Link hubs and DPS instances to a namespace; one that is linked elsewhere has to be unlinked there first."""
    with complain():
        sections = {
            "messaging": {"endpoints": _endpoints("Microsoft.Devices/IotHubs", hub, unlink=unlink)},
            "provisioning": {"endpoints": _endpoints("Microsoft.Devices/provisioningServices", dps, unlink=unlink)},
        }
        changed = ArmClient(state_dir).ask("PATCH", "namespaces", name, document={"properties": sections})
        for section in sections:
            for each in changed["properties"][section]["endpoints"].values():
                typer.echo(f"{each['resourceId'].rpartition('/')[2]}: {each.get('linkingError', 'linked')}")


@credential.command("show")
def show_credential(state_dir: STATE_DIRECTORY, namespace_name: NAMESPACE = DEFAULT_NAMESPACE) -> None:
    """Print the credential."""
    with complain():
        _print(ArmClient(state_dir).ask("GET", *_credential(namespace_name)))


@credential.command("create")
def create_credential(state_dir: STATE_DIRECTORY, namespace_name: NAMESPACE = DEFAULT_NAMESPACE) -> None:
    """Make the root CA of a namespace that has none."""
    with complain():
        ArmClient(state_dir).ask("PUT", *_credential(namespace_name), document={})
        typer.echo(f"namespace {namespace_name} has its root CA")


@credential.command("delete")
def delete_credential(state_dir: STATE_DIRECTORY, namespace_name: NAMESPACE = DEFAULT_NAMESPACE) -> None:
    """Delete the root CA; its policies have to go first."""
    with complain():
        ArmClient(state_dir).ask("DELETE", *_credential(namespace_name))
        typer.echo(f"the credential of namespace {namespace_name} is deleted")


@credential.command("sync")
def sync_credential(state_dir: STATE_DIRECTORY, namespace_name: NAMESPACE = DEFAULT_NAMESPACE) -> None:
    """Tell linked hubs what to trust; here they always know."""
    with complain():
        ArmClient(state_dir).ask("POST", *_credential(namespace_name), "synchronize")
        typer.echo(f"the hubs of namespace {namespace_name} are in step")


@policy.command("list")
def list_policies(
    state_dir: STATE_DIRECTORY, namespace_name: NAMESPACE = DEFAULT_NAMESPACE, as_json: JSON = False
) -> None:
    """List the policies with the life of their issuing CAs."""
    with complain():
        found = ArmClient(state_dir).every(*_credential(namespace_name), "policies")
        rows = [_policy_row(each) for each in found]
        _print_list(found, ("policy", "days", "issuing CA until", "root"), rows, as_json=as_json)


@policy.command("show")
def show_policy(name: NAME, state_dir: STATE_DIRECTORY, namespace_name: NAMESPACE = DEFAULT_NAMESPACE) -> None:
    """Print a policy; the CSR too, where its owner's CA is to sign it."""
    with complain():
        _print(ArmClient(state_dir).ask("GET", *_policy(namespace_name, name)))


@policy.command("create")
def create_policy(
    name: NAME,
    state_dir: STATE_DIRECTORY,
    namespace_name: NAMESPACE = DEFAULT_NAMESPACE,
    days: DAYS = None,
    byor: Annotated[bool, typer.Option("--enable-byor", help="Bring your own root: print a CSR to sign.")] = False,
) -> None:
    """Make a policy and its issuing CA."""
    with complain():
        configuration = {"keyType": "ECC", "bringYourOwnRoot": {"enabled": byor}}
        certificate = {
            "certificateAuthorityConfiguration": configuration,
            "leafCertificateConfiguration": {"validityPeriodInDays": days},
        }
        document = {"properties": {"certificate": certificate}}
        made = ArmClient(state_dir).ask("PUT", *_policy(namespace_name, name), document=document)
        if byor:
            typer.echo(_own_root(made)["certificateSigningRequest"], nl=False)
        else:
            typer.echo(f"policy {name} is there, its issuing CA is valid until {_policy_row(made)[2]}")


@policy.command("update")
def update_policy(
    name: NAME,
    state_dir: STATE_DIRECTORY,
    days: Annotated[float, typer.Option("--validity-days", help="How long the next leaves live.")],
    namespace_name: NAMESPACE = DEFAULT_NAMESPACE,
) -> None:
    """Change how long the next leaves live."""
    with complain():
        certificate = {"leafCertificateConfiguration": {"validityPeriodInDays": days}}
        document = {"properties": {"certificate": certificate}}
        ArmClient(state_dir).ask("PATCH", *_policy(namespace_name, name), document=document)
        typer.echo(f"leaves of policy {name} live {days:g} days from now on")


@policy.command("delete")
def delete_policy(name: NAME, state_dir: STATE_DIRECTORY, namespace_name: NAMESPACE = DEFAULT_NAMESPACE) -> None:
    """Delete a policy; what it issued stays good until it expires."""
    with complain():
        ArmClient(state_dir).ask("DELETE", *_policy(namespace_name, name))
        typer.echo(f"policy {name} is deleted; its leaves live on")


@policy.command("revoke-issuer")
def revoke_issuer(name: NAME, state_dir: STATE_DIRECTORY, namespace_name: NAMESPACE = DEFAULT_NAMESPACE) -> None:
    """Revoke a policy's issuing CA: its devices are disconnected and have to return to DPS."""
    with complain():
        ArmClient(state_dir).ask("POST", *_policy(namespace_name, name), "revokeIssuer")
        typer.echo(f"the issuing CA of policy {name} is revoked, a new one issues")


@policy.command("activate-byor")
def activate_byor(
    name: NAME,
    state_dir: STATE_DIRECTORY,
    chain_file: Annotated[
        Path, typer.Option("--certificate-chain-file", help="PEM: the signed certificate, then its issuers.")
    ],
    namespace_name: NAMESPACE = DEFAULT_NAMESPACE,
) -> None:
    """Hand in the certificate that your own CA signed."""
    with complain():
        document = {"certificateChain": chain_file.read_text()}
        path = (*_policy(namespace_name, name), "activateBringYourOwnRoot")
        ArmClient(state_dir).ask("POST", *path, document=document)
        typer.echo(f"policy {name} issues under your root")


@device.command("list")
def list_devices(
    state_dir: STATE_DIRECTORY, namespace_name: NAMESPACE = DEFAULT_NAMESPACE, as_json: JSON = False
) -> None:
    """List the devices."""
    with complain():
        found = ArmClient(state_dir).every("namespaces", namespace_name, "devices")
        rows = [(each["name"], _policy_of(each), _status(each)) for each in found]
        _print_list(found, ("device", "policy", "status"), rows, as_json=as_json)


@device.command("show")
def show_device(
    device_id: DEVICE, state_dir: STATE_DIRECTORY, namespace_name: NAMESPACE = DEFAULT_NAMESPACE, as_json: JSON = False
) -> None:
    """Show a device with every certificate that was issued for it."""
    with complain():
        client = ArmClient(state_dir)
        found = client.ask("GET", *_device(namespace_name, device_id))
        certificates = client.every(*_device(namespace_name, device_id), "certificates")
        if as_json:
            _print({**found, "certificates": certificates})
            return
        typer.echo(f"{found['name']}: {_status(found)}, policy {_policy_of(found)}")
        columns = ("serialNumber", "policy", "issuingCa", "validityNotAfter", "status")
        rows = [tuple(str(each[column]) for column in columns) for each in certificates]
        _print_list(certificates, ("serial", "policy", "issuing CA", "until", "status"), rows, as_json=False)


@device.command("revoke")
def revoke_device(
    device_id: DEVICE,
    state_dir: STATE_DIRECTORY,
    namespace_name: NAMESPACE = DEFAULT_NAMESPACE,
    disable: Annotated[bool, typer.Option("--disable", help="Keep it from coming back.")] = False,
) -> None:
    """Revoke every certificate of a device: it is disconnected and has to return to DPS."""
    with complain():
        path = (*_device(namespace_name, device_id), "revoke")
        ArmClient(state_dir).ask("POST", *path, document={"disable": disable})
        typer.echo(f"the certificates of {device_id} are revoked{', and it is disabled' if disable else ''}")


@device.command("enable")
def enable_device(device_id: DEVICE, state_dir: STATE_DIRECTORY, namespace_name: NAMESPACE = DEFAULT_NAMESPACE) -> None:
    """Let a disabled device back in."""
    with complain():
        _set_enabled(state_dir, namespace_name, device_id, enabled=True)


@device.command("disable")
def disable_device(
    device_id: DEVICE, state_dir: STATE_DIRECTORY, namespace_name: NAMESPACE = DEFAULT_NAMESPACE
) -> None:
    """Disconnect a device and refuse it, in its hub too; its certificates stay good for later."""
    with complain():
        _set_enabled(state_dir, namespace_name, device_id, enabled=False)


@device.command("delete")
def delete_device(device_id: DEVICE, state_dir: STATE_DIRECTORY, namespace_name: NAMESPACE = DEFAULT_NAMESPACE) -> None:
    """Revoke a device's certificates and forget it."""
    with complain():
        ArmClient(state_dir).ask("DELETE", *_device(namespace_name, device_id))
        typer.echo(f"{device_id} is deleted from namespace {namespace_name}")


def _set_enabled(state_dir: Path, namespace_name: str, device_id: str, *, enabled: bool) -> None:
    document = {"properties": {"enabled": enabled}}
    ArmClient(state_dir).ask("PATCH", *_device(namespace_name, device_id), document=document)
    typer.echo(f"{device_id} is {'enabled' if enabled else 'disabled'}")


def _credential(namespace_name: str) -> tuple[str, ...]:
    return "namespaces", namespace_name, "credentials", "default"


def _policy(namespace_name: str, name: str) -> tuple[str, ...]:
    return *_credential(namespace_name), "policies", name


def _device(namespace_name: str, device_id: str) -> tuple[str, ...]:
    return "namespaces", namespace_name, "devices", device_id


def _endpoints(kind: str, names: list[str] | None, *, unlink: bool) -> dict[str, Any]:
    resource = f"/subscriptions/local/resourceGroups/local/providers/{kind}"
    endpoint = {"endpointType": kind, "resourceId": resource}
    return {name: None if unlink else {**endpoint, "resourceId": f"{resource}/{name}"} for name in names or ()}


def _linked(document: dict[str, Any], section: str) -> str:
    endpoints = document["properties"][section]["endpoints"].values()
    linked = [each["resourceId"].rpartition("/")[2] for each in endpoints if each["linkingState"] == "Succeeded"]
    return " ".join(linked) or "none"


def _policy_row(document: dict[str, Any]) -> tuple[str, ...]:
    certificate = document["properties"]["certificate"]
    authority = certificate["certificateAuthorityConfiguration"]
    days = certificate["leafCertificateConfiguration"]["validityPeriodInDays"]
    root = f"own, {_own_root(document)['status']}" if _own_root(document)["enabled"] else "the namespace's"
    return document["name"], f"{days:g}", authority.get("validityNotAfter", "not signed yet"), root


def _own_root(document: dict[str, Any]) -> dict[str, Any]:
    configuration = document["properties"]["certificate"]["certificateAuthorityConfiguration"]
    own_root: dict[str, Any] = configuration["bringYourOwnRoot"]
    return own_root


def _policy_of(document: dict[str, Any]) -> str:
    resource: str = document["properties"].get("policy", {}).get("resourceId", "none")
    return resource.rpartition("/")[2]


def _status(document: dict[str, Any]) -> str:
    return "enabled" if document["properties"]["enabled"] else "disabled"


def _print_list(
    documents: list[dict[str, Any]], columns: Sequence[str], rows: Sequence[Sequence[str]], *, as_json: bool
) -> None:
    if as_json:
        for document in documents:
            typer.echo(json.dumps(document))
        return
    widths = [max(len(row[place]) for row in (columns, *rows)) for place in range(len(columns))]
    for row in (columns, *rows):
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print(document: Any) -> None:
    typer.echo(json.dumps(document, indent=2))
