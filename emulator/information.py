"""Tells how to connect: what `hublet info`, `hublet env` and `GET /info` show."""

from typing import Any

from dps.attestation_mechanism import SymmetricKeyAttestation, attestation_type
from dps.enrollment import EnrollmentGroup
from dps.service import ProvisioningService
from emulator.bootstrap import Resources
from emulator.listeners import Endpoints
from hub.hub import Hub

OWNER_POLICY = "iothubowner"


def describe(resources: Resources, endpoints: Endpoints | None) -> dict[str, Any]:
    """Collect hosts, ports, scopes, enrollments and keys as JSON values.

    Args:
        resources: what the emulator consists of.
        endpoints: the ports of the process that runs, None when none does.
    """
    services = [_describe_service(each) for each in resources.dps]
    groups = [group for service in services for group in service["enrollmentGroups"]]
    hosts = [name for each in services for name in each["hostNames"]]
    hosts += [name for hub in resources.hubs for name in (hub.settings.host_name, *hub.settings.aliases)]
    return {
        "idScope": services[0]["idScope"] if services else None,
        "provisioningServices": services,
        "enrollmentGroups": groups,
        "hubs": [_describe_hub(each) for each in resources.hubs],
        "namespaces": [_describe_namespace(resources, each.name) for each in resources.adr.namespaces()],
        "hostNames": list(dict.fromkeys(hosts)),
        "ports": _describe_ports(endpoints),
        "serverCaFile": str(resources.server_ca_file) if resources.server_ca_file is not None else None,
    }


def _describe_service(service: ProvisioningService) -> dict[str, Any]:
    settings = service.settings
    return {
        "name": settings.name,
        "idScope": settings.id_scope,
        "hostNames": list(settings.host_names),
        "namespace": service.link.namespace,
        "enrollmentGroups": [_describe_group(each) for each in service.enrollments.groups.list()],
        "individualEnrollments": len(service.enrollments.individuals.list()),
    }


def _describe_group(group: EnrollmentGroup) -> dict[str, Any]:
    described = {
        "id": group.enrollment_group_id,
        "attestation": attestation_type(group.attestation).value,
        "credentialPolicyName": group.credential_policy_name,
        "provisioningStatus": group.provisioning_status.value,
    }
    if isinstance(group.attestation, SymmetricKeyAttestation):
        described["primaryKey"] = group.attestation.primary_key
        described["secondaryKey"] = group.attestation.secondary_key
    return described


def _describe_hub(hub: Hub) -> dict[str, Any]:
    settings = hub.settings
    owner = hub.policies.get(OWNER_POLICY)
    key = owner.primary_key if owner is not None else ""
    return {
        "name": settings.name,
        "hostName": settings.host_name,
        "aliases": list(settings.aliases),
        "namespace": hub.link.namespace,
        "connectionString": f"HostName={settings.host_name};SharedAccessKeyName={OWNER_POLICY};SharedAccessKey={key}",
    }


def _describe_namespace(resources: Resources, name: str) -> dict[str, Any]:
    policies = resources.adr.policies(name)
    return {
        "name": name,
        "policies": [
            {"name": each.name, "leafValidityDays": each.leaf_validity.total_seconds() / 86_400} for each in policies
        ],
    }


def _describe_ports(endpoints: Endpoints | None) -> dict[str, int] | None:
    if endpoints is None:
        return None
    return {"mqtt": endpoints.mqtt_port, "https": endpoints.https_port, "control": endpoints.control_port}
