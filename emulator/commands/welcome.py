"""Shows a person how to connect."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text


def show_welcome(information: Mapping[str, Any]) -> None:
    """Print hosts, ports, scopes, enrollments and keys; the last line says that it is ready, if it runs."""
    console = Console(highlight=False, soft_wrap=True)
    rows = _rows(information)
    width = max(len(label) for label, _ in rows) + 2
    for label, value in rows:
        # One line each, however long: keys and connection strings are there to be copied.
        console.print(Text(label.ljust(width), style="bold").append(value, style="not bold"))
    ports = information["ports"]
    if ports:
        console.print(
            f"[bold green]ready[/]: MQTT on {ports['mqtt']}, HTTPS on {ports['https']}, control on {ports['control']}"
        )


def _rows(information: Mapping[str, Any]) -> list[tuple[str, str]]:
    ports = information["ports"]
    rows: list[tuple[str, str]] = []
    for service in information["provisioningServices"]:
        rows.append((f"DPS {service['name']}", f"{' '.join(service['hostNames'])}   ID scope {service['idScope']}"))
        rows += [_enrollment(each) for each in service["enrollmentGroups"]]
        individual = service["individualEnrollments"]
        if individual:
            rows.append(("  individual", f"{individual} enrollment{'' if individual == 1 else 's'}"))
    for hub in information["hubs"]:
        rows.append((f"hub {hub['name']}", " ".join([hub["hostName"], *hub["aliases"]])))
        rows.append(("  connection string", hub["connectionString"]))
    for namespace in information["namespaces"]:
        policies = ", ".join(f"{each['name']} ({each['leafValidityDays']:g} days)" for each in namespace["policies"])
        rows.append((f"namespace {namespace['name']}", f"policies: {policies or 'none'}"))
    ca_file = information["serverCaFile"]
    control = ports["control"] if ports else "PORT"
    rows.append(("CA file", ca_file or f"curl http://127.0.0.1:{control}/ca.pem (nothing is kept on disk)"))
    if ca_file:
        # It takes the CA's key from the state directory: an emulator without one is of no use to it.
        rows.append(("onboarding", "hublet dev-ca issue --registration-id ID --out DIR"))
    return rows


def _enrollment(group: Mapping[str, Any]) -> tuple[str, str]:
    parts = [str(group["attestation"])]
    if group["credentialPolicyName"]:
        parts.append(f"policy {group['credentialPolicyName']}")
    if group["provisioningStatus"] != "enabled":
        parts.append(group["provisioningStatus"])
    if "primaryKey" in group:
        parts.append(f"primary key {group['primaryKey']}")
    return f"  group {group['id']}", "   ".join(parts)
