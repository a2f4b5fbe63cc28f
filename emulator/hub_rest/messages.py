"""Cloud-to-device messages over REST: purging, feedback, and sending by hublet's own control API."""

from emulator.hub_rest.exchange import HubRequest, Reply, json_reply
from hub.errors import DeviceNotFound
from hub.identity_json import format_time
from hub.message_document import parse_message_document

FEEDBACK_TYPE = "application/vnd.microsoft.iothub.feedback.json"


async def purge(request: HubRequest) -> Reply:
    """Empty the queue of a device."""
    if request.hub.registry.get(request.device_id) is None:
        raise DeviceNotFound(f"Device {request.device_id} not registered")
    count = request.hub.c2d.purge(request.device_id, request.now)
    return json_reply({"deviceId": request.device_id, "totalMessagesPurged": count, "moduleId": None})


async def send(request: HubRequest) -> Reply:
    """Send a message to a device (Azure takes it by AMQP)."""
    content = parse_message_document(request.document())
    message, actions = request.hub.c2d.send(request.device_id, content, request.now)
    sent = {
        "deviceId": message.device_id,
        "messageId": content.message_id,
        "sequenceNumber": message.sequence,
        "enqueuedTimeUtc": format_time(message.enqueued_at),
        "expiryTimeUtc": format_time(message.expires_at),
    }
    return json_reply(sent, status=201, actions=actions)


async def receive_feedback(request: HubRequest) -> Reply:
    """Lend out a batch of feedback, or answer 204."""
    batch = request.hub.feedback.receive(request.now)
    if batch is None:
        return Reply(204)
    headers = {
        "Content-Type": FEEDBACK_TYPE,
        "ETag": f'"{batch.lock_token}"',
        "iothub-enqueuedtime": format_time(batch.enqueued_at),
        "iothub-sequencenumber": str(batch.sequence),
        "iothub-deliverycount": str(batch.delivery_count),
        "iothub-userid": request.hub.settings.name,
    }
    return Reply(200, batch.body, headers)


async def complete_feedback(request: HubRequest) -> Reply:
    """Forget a batch of feedback."""
    request.hub.feedback.complete(_lock_token(request), request.now)
    return Reply(204)


async def abandon_feedback(request: HubRequest) -> Reply:
    """Free a batch of feedback for another receiver."""
    request.hub.feedback.abandon(_lock_token(request), request.now)
    return Reply(204)


def _lock_token(request: HubRequest) -> str:
    return request.parameters["lock"].strip('"')
