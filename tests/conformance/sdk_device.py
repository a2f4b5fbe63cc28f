"""A device of the official Python SDK, unmodified; runs in the SDK's own virtual environment.

Reads one JSON object from standard input, provisions, connects to the hub it was assigned, sends telemetry, and writes
one JSON object to standard output.
"""

import json
import sys
from pathlib import Path

from azure.iot.device import X509, IoTHubDeviceClient, Message, ProvisioningDeviceClient


def provisioning_client(order):
    """Make the client for the order's credential."""
    shared = {
        "provisioning_host": order["host"],
        "id_scope": order["id_scope"],
        "registration_id": order["registration_id"],
        "websockets": order["websockets"],
        "server_verification_cert": order["server_ca"],
    }
    if "symmetric_key" in order:
        return ProvisioningDeviceClient.create_from_symmetric_key(symmetric_key=order["symmetric_key"], **shared)
    return ProvisioningDeviceClient.create_from_x509_certificate(x509=certificate(order), **shared)


def hub_client(order, result):
    """Make the client for the hub that DPS assigned."""
    shared = {"websockets": order["websockets"], "server_verification_cert": order["server_ca"]}
    state = result.registration_state
    if "symmetric_key" in order:
        return IoTHubDeviceClient.create_from_symmetric_key(
            symmetric_key=order["symmetric_key"], hostname=state.assigned_hub, device_id=state.device_id, **shared
        )
    return IoTHubDeviceClient.create_from_x509_certificate(
        x509=certificate(order), hostname=state.assigned_hub, device_id=state.device_id, **shared
    )


def certificate(order):
    """The credential's files."""
    return X509(cert_file=order["certificate_file"], key_file=order["key_file"])


def main():
    """Run one device's life."""
    order = json.load(sys.stdin)
    order["server_ca"] = Path(order["ca_file"]).read_text()
    client = provisioning_client(order)
    client.provisioning_payload = order.get("payload")
    result = client.register()
    answer = {"status": result.status}
    if result.status == "assigned":
        answer |= {
            "assigned_hub": result.registration_state.assigned_hub,
            "device_id": result.registration_state.device_id,
            "substatus": result.registration_state.sub_status,
        }
        device = hub_client(order, result)
        device.connect()
        for number in range(order["messages"]):
            message = Message(json.dumps({"number": number}), content_encoding="utf-8", content_type="application/json")
            message.custom_properties["number"] = str(number)
            device.send_message(message)
        answer["sent"] = order["messages"]
        device.shutdown()
    json.dump(answer, sys.stdout)


main()
