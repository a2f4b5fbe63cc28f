"""The official management SDK of the device registry, unmodified; runs in the SDKs' own virtual environment.

Reads one JSON object from standard input, drives namespaces, credential, policies and devices of an emulator, and
writes what it saw as one JSON object to standard output.
"""

import json
import sys
import time

from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.core.pipeline.transport import RequestsTransport
from azure.mgmt.deviceregistry import DeviceRegistryMgmtClient, models

GROUP = "group1"


class AnyToken:
    """A credential: the emulator verifies no token."""

    def get_token(self, *_scopes, **_options):
        return AccessToken("any", int(time.time()) + 3600)


def policy_of(days, *, own_root=False):
    return models.Policy(
        properties=models.PolicyProperties(
            certificate=models.CertificateConfiguration(
                certificate_authority_configuration=models.CertificateAuthorityConfiguration(
                    key_type="ECC", bring_your_own_root=models.BringYourOwnRoot(enabled=own_root)
                ),
                leaf_certificate_configuration=models.LeafCertificateConfiguration(validity_period_in_days=days),
            )
        )
    )


def code_of(call):
    """The HTTP status and ARM code that a call is refused with."""
    try:
        result = call()
        getattr(result, "result", lambda: None)()
    except HttpResponseError as error:
        return [error.status_code, error.error.code if error.error else ""]
    return None


def authority_of(policy):
    return policy.properties.certificate.certificate_authority_configuration


def namespaces(client, seen):
    made = client.namespaces.begin_create_or_replace(GROUP, "sdk", models.Namespace(location="eastus", tags={"a": "b"}))
    namespace = made.result()
    seen["namespace"] = [namespace.name, namespace.location, namespace.tags, namespace.properties.provisioning_state]
    seen["no credential yet"] = code_of(lambda: client.credentials.get(GROUP, "sdk"))
    seen["listed"] = sorted(each.name for each in client.namespaces.list_by_resource_group(GROUP))
    seen["subscription"] = sorted(each.name for each in client.namespaces.list_by_subscription())
    changed = client.namespaces.begin_update(GROUP, "sdk", models.NamespaceUpdate(tags={"a": "c"})).result()
    seen["tags"] = changed.tags
    seen["bad name"] = code_of(
        lambda: client.namespaces.begin_create_or_replace(GROUP, "NO_", models.Namespace(location="eastus"))
    )


def policies(client, seen):
    credential = client.credentials.begin_create_or_update(GROUP, "sdk", models.Credential(location="eastus")).result()
    seen["credential"] = [credential.name, credential.properties.provisioning_state]
    first = client.policies.begin_create_or_update(GROUP, "sdk", "plant-1", policy_of(10)).result()
    client.policies.begin_create_or_update(GROUP, "sdk", "plant-2", policy_of(90)).result()
    seen["policies"] = [each.name for each in client.policies.list_by_resource_group(GROUP, "sdk")]
    leaf = first.properties.certificate.leaf_certificate_configuration
    seen["policy"] = [leaf.validity_period_in_days, authority_of(first).subject, authority_of(first).key_type]
    update = models.PolicyUpdate(
        properties=models.PolicyUpdateProperties(
            certificate=models.CertificateConfiguration(
                certificate_authority_configuration=models.CertificateAuthorityConfiguration(key_type="ECC"),
                leaf_certificate_configuration=models.LeafCertificateConfiguration(validity_period_in_days=20),
            )
        )
    )
    client.policies.begin_update(GROUP, "sdk", "plant-1", update).result()
    again = client.policies.get(GROUP, "sdk", "plant-1")
    seen["updated"] = again.properties.certificate.leaf_certificate_configuration.validity_period_in_days
    client.policies.begin_revoke_issuer(GROUP, "sdk", "plant-1").result()
    client.credentials.begin_synchronize(GROUP, "sdk").result()
    seen["too long"] = code_of(lambda: client.policies.begin_create_or_update(GROUP, "sdk", "long", policy_of(91)))
    seen["credential with policies"] = code_of(lambda: client.credentials.begin_delete(GROUP, "sdk"))


def own_root(client, seen, order):
    policy = client.policies.begin_create_or_update(GROUP, "sdk", "own", policy_of(7, own_root=True)).result()
    seen["own root"] = authority_of(policy).bring_your_own_root.status
    chain = order["sign"](authority_of(policy).bring_your_own_root.certificate_signing_request)
    request = models.ActivateBringYourOwnRootRequest(certificate_chain="nonsense")
    seen["bad chain"] = code_of(
        lambda: client.policies.begin_activate_bring_your_own_root(GROUP, "sdk", "own", request)
    )
    request = models.ActivateBringYourOwnRootRequest(certificate_chain=chain)
    client.policies.begin_activate_bring_your_own_root(GROUP, "sdk", "own", request).result()
    active = authority_of(client.policies.get(GROUP, "sdk", "own"))
    seen["activated"] = [active.bring_your_own_root.status, active.subject]
    seen["revoke own"] = code_of(lambda: client.policies.begin_revoke_issuer(GROUP, "sdk", "own"))


def devices(client, seen):
    made = client.namespace_devices.begin_create_or_replace(
        GROUP,
        "sdk",
        "machine-1",
        models.NamespaceDevice(
            location="eastus", properties=models.NamespaceDeviceProperties(manufacturer="M", attributes={"x": 1})
        ),
    ).result()
    seen["device"] = [made.name, made.properties.manufacturer, made.properties.attributes, made.properties.enabled]
    revoke = models.DeviceCredentialsRevokeRequest(disable=True)
    client.namespace_devices.begin_revoke(GROUP, "sdk", "machine-1", revoke).result()
    after = client.namespace_devices.get(GROUP, "sdk", "machine-1")
    seen["revoked"] = [after.properties.uuid != made.properties.uuid, after.properties.enabled]
    seen["devices"] = [each.name for each in client.namespace_devices.list_by_resource_group(GROUP, "sdk")]
    client.namespace_devices.begin_delete(GROUP, "sdk", "machine-1").result()
    seen["deleted device"] = code_of(lambda: client.namespace_devices.get(GROUP, "sdk", "machine-1"))


def clean_up(client, seen):
    for name in ("plant-1", "plant-2", "own"):
        client.policies.begin_delete(GROUP, "sdk", name).result()
    client.credentials.begin_delete(GROUP, "sdk").result()
    client.namespaces.begin_delete(GROUP, "sdk").result()
    try:
        client.namespaces.get(GROUP, "sdk")
    except ResourceNotFoundError as error:
        seen["gone"] = error.error.code


def signer(order):
    """Sign a CSR with openssl's command line, as somebody with an own PKI does."""
    import subprocess
    from pathlib import Path

    def sign(request):
        directory = Path(order["directory"])
        (directory / "ica.csr").write_text(request)
        subprocess.run(order["sign_command"], check=True, cwd=directory, capture_output=True)
        return (directory / "ica.pem").read_text() + (directory / "root.pem").read_text()

    return sign


def main():
    """Run the registry's life."""
    order = json.load(sys.stdin)
    order["sign"] = signer(order)
    client = DeviceRegistryMgmtClient(
        AnyToken(),
        "00000000-0000-0000-0000-000000000000",
        base_url=order["base_url"],
        transport=RequestsTransport(connection_verify=order["ca_file"]),
        retry_total=0,
    )
    seen = {}
    namespaces(client, seen)
    policies(client, seen)
    own_root(client, seen, order)
    devices(client, seen)
    clean_up(client, seen)
    json.dump(seen, sys.stdout)


main()
