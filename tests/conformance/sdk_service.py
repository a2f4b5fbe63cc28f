"""The official Python service SDK, unmodified; runs in the SDK's virtual environment.

Reads one JSON object, `{"connection_string", "calls": [[method of IoTHubRegistryManager, arguments…], …]}`, and writes
the list of what each call returned, or of the error it raised. `{"@": model, …}` in an argument makes a model.
"""

import json
import sys

from azure.iot.hub import IoTHubRegistryManager, models
from msrest.exceptions import HttpOperationError


def make(value):
    """Turn what JSON can say into what the SDK takes."""
    if isinstance(value, list):
        return [make(each) for each in value]
    if not isinstance(value, dict):
        return value
    members = {name: make(each) for name, each in value.items() if name != "@"}
    return getattr(models, value["@"])(**members) if "@" in value else members


def show(value):
    """Turn what the SDK returns into what JSON can say."""
    if isinstance(value, list):
        return [show(each) for each in value]
    if hasattr(value, "as_dict"):
        return value.as_dict()
    if hasattr(value, "items") and not isinstance(value, dict):
        return {"items": [show(each) for each in value.items], "continuation": value.continuation_token}
    return value


def main():
    """Make the calls in their order."""
    order = json.load(sys.stdin)
    manager = IoTHubRegistryManager.from_connection_string(order["connection_string"])
    answers = []
    for name, *arguments in order["calls"]:
        try:
            answers.append({"result": show(getattr(manager, name)(*make(arguments)))})
        except HttpOperationError as error:
            headers = error.response.headers
            answers.append({"status": error.response.status_code, "error": headers.get("iothub-errorcode")})
    json.dump(answers, sys.stdout)


main()
