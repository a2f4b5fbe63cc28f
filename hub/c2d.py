"""Cloud-to-device messages: taken from services, queued, delivered over MQTT, and completed by the PUBACK."""

import logging
import secrets
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from adr.store import Store
from broker.gateway import Action, Publish
from hub.c2d_message import (
    FEEDBACK_STATUS,
    HELD,
    SYSTEM_FIELDS,
    C2dEvent,
    C2dMessage,
    C2dState,
    Lock,
    MessageContent,
    format_topic,
    next_state,
)
from hub.c2d_queue import MAX_PENDING, C2dQueue
from hub.connections import Connections
from hub.errors import (
    DeviceMaximumQueueDepthExceeded,
    DeviceMessageLockLost,
    DeviceNotFound,
    InvalidMessageExpiryTime,
    MessageTooLarge,
)
from hub.feedback import Feedback, FeedbackRecord
from hub.message import message_size
from hub.registry import DeviceRegistry
from hub.session import HubSession, Sessions
from hub.settings import HubSettings
from hub.topics import devicebound_filter

log = logging.getLogger("hub")

DELIVERY: Final = "c2d/"  # how the token of a delivered message begins
# Source: iot-hub-devguide-messages-c2d.md, iot-hub-devguide-quotas-throttling.md (documented); the latest expiry is
# assumed to be that of the default's range.
LOCK_DURATION = timedelta(minutes=1)
MAX_TIME_TO_LIVE = timedelta(days=2)
MAX_MESSAGE_BYTES: Final = 64 * 1024
MAX_TOPIC_BYTES: Final = 65_535
MAX_DUE_PER_TICK = 200


class CloudToDevice:
    """The queues of one hub's devices; modules have none."""

    def __init__(
        self,
        settings: HubSettings,
        store: Store,
        *,
        registry: DeviceRegistry,
        sessions: Sessions,
        connections: Connections,
        feedback: Feedback,
    ) -> None:
        self._settings = settings
        self._queue = C2dQueue(store, settings.name)
        self._registry = registry
        self._sessions = sessions
        self._connections = connections
        self._feedback = feedback

    def send(self, device_id: str, content: MessageContent, now: datetime) -> tuple[C2dMessage, list[Action]]:
        """Enqueue a message, and deliver it at once to a device that is there.

        Raises:
            DeviceNotFound: no such device; a disabled one is sent to (assumed).
            InvalidMessageExpiryTime: it would expire in the past, or in more than two days.
            MessageTooLarge: it has over 64 KiB, or its properties do not fit into a topic.
            DeviceMaximumQueueDepthExceeded: 50 messages wait already.

        Source: iot-hub-devguide-messages-c2d.md (documented).
        """
        device = self._registry.get(device_id)
        if device is None:
            raise DeviceNotFound(f"device {device_id!r} is not registered in hub {self._settings.name}")
        expires_at = content.expires_at or now + self._settings.c2d_time_to_live
        if not now < expires_at <= now + MAX_TIME_TO_LIVE:
            raise InvalidMessageExpiryTime(
                f"a message to {device_id} cannot expire at {expires_at.isoformat()}: now is {now.isoformat()}, "
                f"and the latest is {MAX_TIME_TO_LIVE.days} days from now"
            )
        message = C2dMessage(device_id, device.generation_id, 0, now, expires_at, content)
        _check_size(message)
        if self._queue.count(device_id) >= MAX_PENDING:
            raise DeviceMaximumQueueDepthExceeded(f"{MAX_PENDING} messages wait for device {device_id} already")
        message = replace(message, sequence=self._queue.next_sequence(device_id))
        self._queue.put(message)
        session = self._connections.get(self._sessions.key(device_id))
        return message, self.deliver(session, now) if session is not None else []

    def deliver(self, session: HubSession, now: datetime) -> list[Action]:
        """Send what waits for a device that is connected and subscribed; what this connection has locked stays locked.

        Only messages that came after the subscription was made are delivered over MQTT.

        Source: iot-mqtt-connect-to-iot-hub.md (documented); that earlier ones stay queued until they expire is assumed.
        """
        subscription = self._sessions.subscriptions(session.key).get(devicebound_filter(session.device_id))
        if subscription is None:
            return []
        actions: list[Action] = []
        for message in self._queue.list(session.device_id):
            is_early = message.enqueued_at < subscription.since and not self._settings.deliver_earlier_messages
            is_held = message.lock is not None and message.lock.connection_id == session.connection_id
            if not (is_early or is_held or now >= message.expires_at):
                actions.append(self._deliver_one(session, message, subscription.qos, now))
        return actions

    def acknowledged(self, session: HubSession, token: str, now: datetime) -> None:
        """Complete the message that the device has acknowledged; one that is locked anew, or gone, stays as it is.

        Source: iot-hub-devguide-messages-c2d.md: PUBACK completes (documented).
        """
        _, sequence, lock_token = token.split("/")
        message = self._queue.get(session.device_id, int(sequence))
        if message is None or message.lock is None or message.lock.token != lock_token:
            log.info("device %s: acknowledges message %s too late", session.device_id, sequence)
            return
        self._happen(message, C2dEvent.COMPLETE, now)

    def settle(self, device_id: str, lock_token: str, event: C2dEvent, now: datetime) -> None:
        """Complete, abandon or reject the message that is locked with this token.

        Raises:
            DeviceMessageLockLost: none is.

        Source: troubleshoot-error-codes.md 412002 (documented).
        """
        for message in self._queue.list(device_id):
            if message.lock is not None and message.lock.token == lock_token:
                self._happen(message, event, now)
                return
        raise DeviceMessageLockLost(f"no message of device {device_id} is locked with this token")

    def tick(self, now: datetime) -> list[Action]:
        """Dead-letter what has expired, and deliver again what was locked for a minute."""
        unlocked: dict[str, None] = {}
        for message in list(self._queue.due(now, MAX_DUE_PER_TICK)):
            if now >= message.expires_at:
                self._happen(message, C2dEvent.EXPIRE, now)
            else:
                self._happen(message, C2dEvent.UNLOCK, now)
                unlocked[message.device_id] = None
        # Only now, so that each device gets its messages in the order they were sent.
        sessions = [self._connections.get(self._sessions.key(device_id)) for device_id in unlocked]
        return [action for session in sessions if session is not None for action in self.deliver(session, now)]

    def purge(self, device_id: str, now: datetime) -> int:
        """Dead-letter all messages of a device and tell how many there were."""
        messages = self._queue.list(device_id)
        for message in messages:
            self._happen(message, C2dEvent.PURGE, now)
        return len(messages)

    def count(self, device_id: str) -> int:
        """How many messages wait for a device, locked ones included."""
        return self._queue.count(device_id)

    def _deliver_one(self, session: HubSession, message: C2dMessage, qos: int, now: datetime) -> Publish:
        assert next_state(message, C2dEvent.DELIVER) is C2dState.INVISIBLE, "all that is in a queue may be delivered"
        lock = Lock(secrets.token_hex(16), now + LOCK_DURATION, session.connection_id)
        self._queue.put(replace(message, lock=lock), over=message)
        token = f"{DELIVERY}{message.sequence}/{lock.token}"
        return Publish(session.key, format_topic(message), message.content.body, qos, token)

    def _happen(self, message: C2dMessage, event: C2dEvent, now: datetime) -> None:
        if event is C2dEvent.ABANDON and message.delivery_count + 1 >= self._settings.c2d_max_delivery_count:
            event = C2dEvent.EXHAUST
        state = next_state(message, event)
        assert state is not None, f"{event} of a message that is {message.state}"
        if state in HELD:
            count = message.delivery_count + (event is C2dEvent.ABANDON)
            self._queue.put(replace(message, lock=None, delivery_count=count), over=message)
            return
        self._queue.delete(message)
        log.info("device %s: message %d %s", message.device_id, message.sequence, FEEDBACK_STATUS[event])
        if message.content.ack.wants(event):
            self._feedback.add(_feedback_record(message, event, now), now)


def _feedback_record(message: C2dMessage, event: C2dEvent, now: datetime) -> FeedbackRecord:
    return FeedbackRecord(
        original_message_id=message.content.message_id,
        enqueued_at=now,
        status_code=FEEDBACK_STATUS[event],
        device_id=message.device_id,
        device_generation_id=message.generation_id,
    )


def _check_size(message: C2dMessage) -> None:
    content = message.content
    system = {name: getattr(content, name) or "" for name in SYSTEM_FIELDS}
    size = message_size(content.body, system, content.properties)
    if size > MAX_MESSAGE_BYTES:
        raise MessageTooLarge(f"a message to {message.device_id} has {size} bytes, it may have {MAX_MESSAGE_BYTES}")
    length = len(format_topic(message))
    if length > MAX_TOPIC_BYTES:
        raise MessageTooLarge(
            f"the properties of a message to {message.device_id} make a topic of {length} bytes, "
            f"MQTT takes {MAX_TOPIC_BYTES}"
        )
