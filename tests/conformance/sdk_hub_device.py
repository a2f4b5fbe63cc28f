"""A device of the official Python SDK, unmodified, that uses all a hub offers; runs in the SDK's virtual environment.

Reads its order as one line of JSON, then writes one line of JSON for everything that happens until its input ends.
"""

import json
import sys
from pathlib import Path

from azure.iot.device import IoTHubDeviceClient, MethodResponse


def tell(kind, value):
    """Write one thing that happened."""
    sys.stdout.write(json.dumps({"kind": kind, "value": value}) + "\n")
    sys.stdout.flush()


def main():
    """Connect, look at the twin, report, and listen until told to stop."""
    order = json.loads(sys.stdin.readline())
    client = IoTHubDeviceClient.create_from_connection_string(
        order["connection_string"], server_verification_cert=Path(order["ca_file"]).read_text()
    )

    def answer(request):
        tell("method", {"name": request.name, "payload": request.payload})
        client.send_method_response(MethodResponse.create_from_method_request(request, 207, {"echo": request.payload}))

    client.on_method_request_received = answer
    client.on_twin_desired_properties_patch_received = lambda patch: tell("desired", patch)
    client.on_message_received = lambda message: tell(
        "message",
        {
            "body": message.data.decode(),
            "message_id": message.message_id,
            "content_type": message.content_type,
            "properties": message.custom_properties,
        },
    )
    client.connect()
    tell("twin", client.get_twin())
    client.patch_twin_reported_properties({"temperature": 21.5, "gone": None})
    tell("reported", client.get_twin())
    tell("ready", None)
    for _ in sys.stdin:
        pass
    client.shutdown()


main()
