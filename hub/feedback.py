"""Feedback on cloud-to-device messages: records gathered into batches, which services receive and complete."""

import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from adr.store import Store
from hub.errors import DeviceMessageLockLost
from hub.identity_json import format_time

# Source: iot-hub-devguide-messages-c2d.md (documented).
MAX_BATCH_RECORDS: Final = 64
MAX_BATCH_AGE = timedelta(seconds=15)
LOCK_DURATION = timedelta(minutes=1)
TIME_TO_LIVE = timedelta(hours=1)
MAX_DELIVERY_COUNT: Final = 10


@dataclass(frozen=True, slots=True)
class FeedbackRecord:
    """How one message ended; `enqueued_at` is the moment of that end."""

    original_message_id: str | None
    enqueued_at: datetime
    status_code: str
    device_id: str
    device_generation_id: str


@dataclass(frozen=True, slots=True)
class FeedbackBatch:
    """A batch as a service gets it: locked, `body` a JSON array of records."""

    lock_token: str
    sequence: int
    enqueued_at: datetime
    delivery_count: int
    body: bytes


class Feedback:
    """The feedback of one hub."""

    def __init__(self, store: Store, hub_name: str) -> None:
        self._store = store
        self._records = f"{hub_name}.feedback-records"
        self._batches = f"{hub_name}.feedback"
        self._sequences = f"{hub_name}.feedback-sequences"

    def add(self, record: FeedbackRecord, now: datetime) -> None:
        """Take a record for the next batch; the 64th completes it."""
        key = self._next_key("records")
        self._store.put(self._records, key, json.dumps({"at": now.isoformat(), "record": _format(record)}))
        if len(self._store.list(self._records, limit=MAX_BATCH_RECORDS)) == MAX_BATCH_RECORDS:
            self._flush(now)

    def tick(self, now: datetime) -> None:
        """Make a batch of records that waited 15 seconds, and forget batches that nobody received for an hour."""
        oldest = self._store.list(self._records, limit=1)
        if oldest and now - datetime.fromisoformat(json.loads(oldest[0].value)["at"]) >= MAX_BATCH_AGE:
            self._flush(now)
        for record in self._store.list(self._batches, limit=1):
            if _moment(json.loads(record.value)["at"]) + TIME_TO_LIVE <= now:
                self._store.delete(self._batches, record.key)

    def receive(self, now: datetime) -> FeedbackBatch | None:
        """Lock the oldest batch that is free for a minute, None when there is none.

        Source: iot-hub-devguide-messages-c2d.md (documented).
        """
        for record in self._store.list(self._batches):
            fields = json.loads(record.value)
            if fields["lock"] is not None and _moment(fields["lock"][1]) > now:
                continue
            if _moment(fields["at"]) + TIME_TO_LIVE <= now:
                continue
            token = secrets.token_hex(16)
            fields["lock"] = [token, (now + LOCK_DURATION).isoformat()]
            self._store.put(self._batches, record.key, json.dumps(fields))
            body = json.dumps(fields["records"]).encode()
            return FeedbackBatch(token, int(record.key), _moment(fields["at"]), fields["count"], body)
        return None

    def complete(self, lock_token: str, now: datetime) -> None:
        """Forget a batch that was received.

        Raises:
            DeviceMessageLockLost: no batch is locked with this token.
        """
        key, _ = self._locked(lock_token, now)
        self._store.delete(self._batches, key)

    def abandon(self, lock_token: str, now: datetime) -> None:
        """Free a batch for the next receiver; the tenth time forgets it.

        Raises:
            DeviceMessageLockLost: no batch is locked with this token.
        """
        key, fields = self._locked(lock_token, now)
        fields |= {"lock": None, "count": fields["count"] + 1}
        if fields["count"] >= MAX_DELIVERY_COUNT:
            self._store.delete(self._batches, key)
        else:
            self._store.put(self._batches, key, json.dumps(fields))

    def _locked(self, lock_token: str, now: datetime) -> tuple[str, dict[str, Any]]:
        for record in self._store.list(self._batches):
            fields = json.loads(record.value)
            if fields["lock"] is not None and fields["lock"][0] == lock_token and _moment(fields["lock"][1]) > now:
                return record.key, fields
        raise DeviceMessageLockLost("no feedback is locked with this token")

    def _flush(self, now: datetime) -> None:
        waiting = self._store.list(self._records, limit=MAX_BATCH_RECORDS)
        records = [json.loads(record.value)["record"] for record in waiting]
        batch = {"at": now.isoformat(), "records": records, "lock": None, "count": 0}
        self._store.put(self._batches, self._next_key("batches"), json.dumps(batch))
        for record in waiting:
            self._store.delete(self._records, record.key)

    def _next_key(self, name: str) -> str:
        record = self._store.get(self._sequences, name)
        sequence = int(json.loads(record.value)["next"]) if record else 0
        self._store.put(self._sequences, name, json.dumps({"next": sequence + 1}))
        return f"{sequence:016d}"


def _format(record: FeedbackRecord) -> dict[str, Any]:
    """Write a record as services read it.

    Source: iot-hub-devguide-messages-c2d.md (documented).
    """
    return {
        "originalMessageId": record.original_message_id,
        "enqueuedTimeUtc": format_time(record.enqueued_at),
        "statusCode": record.status_code,
        "description": record.status_code,
        "deviceId": record.device_id,
        "deviceGenerationId": record.device_generation_id,
    }


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
