"""Cloud-to-device messages, through the gateway, and their feedback."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.c2d import LOCK_DURATION
from hub.c2d_message import (
    FEEDBACK_STATUS,
    HELD,
    TRANSITIONS,
    Ack,
    C2dEvent,
    C2dMessage,
    C2dState,
    MessageContent,
    format_message_record,
    format_topic,
    parse_message_record,
)
from hub.errors import (
    DeviceMaximumQueueDepthExceeded,
    DeviceMessageLockLost,
    DeviceNotFound,
    InvalidMessageExpiryTime,
    MessageTooLarge,
)
from hub.feedback import MAX_DELIVERY_COUNT
from hub.message_document import parse_message_document
from hub.property_bag import parse_property_bag

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
C2D = "devices/dev1/messages/devicebound/#"

TOPICS = json.loads((Path(__file__).parents[1] / "vectors" / "hub_devicebound_topics.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", [pytest.param(vector, id=vector["id"]) for vector in TOPICS])
def test_topic_is_what_the_vector_says(vector: dict[str, Any]) -> None:
    content = parse_message_document(vector["input"]["message"])
    message = C2dMessage(vector["input"]["deviceId"], "1", 0, NOW, NOW + HOUR, content)
    assert format_topic(message) == vector["expect"]


class Line:
    """The device `dev1` of a hub, and what services do to it."""

    def __init__(self, house: Any) -> None:
        self.house, self.hub = house, house.hub
        self.chain = house.onboard("dev1")

    def connect(self, *, clean: bool = False, silent: bool = False, now: datetime = NOW, qos: int = 1) -> Any:
        device = self.house.connect("dev1", clean_session=clean, peer_chain=self.chain, silent=silent, now=now)
        device.subscribe(C2D, qos=qos)
        return device

    def send(self, body: bytes = b"hi", *, now: datetime = NOW, to: Any = None, **members: Any) -> Any:
        message, actions = self.hub.c2d.send("dev1", MessageContent(body, **members), now)
        if to is not None:
            to.perform(actions)
        else:
            assert actions == []
        return message

    def lock_token(self) -> str:
        (message,) = self.hub.c2d._queue.list("dev1")
        return str(message.lock.token)


@pytest.fixture
def line(house: Any) -> Line:
    return Line(house)


def bodies(device: Any) -> list[bytes]:
    return [message.payload for message in device.received]


def feedback(line: Line, now: datetime) -> list[dict[str, Any]]:
    line.hub.gateway.tick(now)
    batch = line.hub.feedback.receive(now)
    return [] if batch is None else json.loads(batch.body)


def test_connected_device_gets_a_message_at_once_and_completes_it(line: Line) -> None:
    device = line.connect()
    line.send(b"hi", to=device)
    (message,) = device.received
    assert (message.payload, message.qos) == (b"hi", 1)
    assert line.hub.c2d.count("dev1") == 0


def test_bag_always_names_the_receiver(line: Line) -> None:
    device = line.connect()
    line.send(to=device)
    assert device.received[0].topic == (
        "devices/dev1/messages/devicebound/%24.to=%2Fdevices%2Fdev1%2Fmessages%2FdeviceBound"
    )


def test_bag_has_what_the_sender_said(line: Line) -> None:
    device = line.connect()
    expires_at = NOW + timedelta(minutes=5, microseconds=7)
    line.send(
        to=device, message_id="m/1", correlation_id="c", user_id="u", content_type="text/plain; charset=UTF-8",
        content_encoding="utf-8", expires_at=expires_at, ack=Ack.FULL, properties={"a b": "c&d=ü", "e": "", "f": None},
    )  # fmt: skip
    bag = device.received[0].topic.removeprefix("devices/dev1/messages/devicebound/")
    assert "/" not in bag
    assert parse_property_bag(bag) == {
        "$.mid": "m/1",
        "$.to": "/devices/dev1/messages/deviceBound",
        "$.cid": "c",
        "$.uid": "u",
        "$.exp": "2026-11-23T12:05:00.0000070Z",
        "$.ct": "text/plain; charset=UTF-8",
        "$.ce": "utf-8",
        "iothub-ack": "full",
        "a b": "c&d=ü",
        "e": "",
        "f": None,
    }


def test_messages_wait_for_a_session_that_subscribed_and_come_in_order(line: Line) -> None:
    line.connect().disconnect()
    for number in range(3):
        line.send(b"%d" % number)
    device = line.house.connect("dev1", clean_session=False, peer_chain=line.chain)
    assert bodies(device) == [b"0", b"1", b"2"]
    assert line.hub.c2d.count("dev1") == 0


def test_messages_from_before_the_subscription_stay_queued(line: Line) -> None:
    line.send(b"early")
    device = line.connect(clean=True, now=NOW + SECOND)
    assert bodies(device) == []
    assert line.hub.c2d.count("dev1") == 1


def test_messages_from_before_the_subscription_may_be_asked_for(make_house: Any) -> None:
    line = Line(make_house(deliver_earlier_messages=True))
    line.send(b"early")
    assert bodies(line.connect(clean=True, now=NOW + SECOND)) == [b"early"]


def test_device_without_the_subscription_gets_nothing(line: Line) -> None:
    device = line.house.connect("dev1", peer_chain=line.chain)
    line.send(to=device)
    assert device.received == []


def test_qos_0_subscription_completes_on_send(line: Line) -> None:
    device = line.connect(qos=0)
    line.send(to=device)
    assert device.received[0].qos == 0
    assert line.hub.c2d.count("dev1") == 0


def test_unacknowledged_message_stays_locked_for_a_minute_and_comes_again(line: Line) -> None:
    device = line.connect(silent=True)
    line.send(to=device)
    device.tick(LOCK_DURATION - SECOND)
    device.subscribe(C2D)
    assert bodies(device) == [b"hi"]
    device.tick(SECOND)
    assert bodies(device) == [b"hi", b"hi"]
    device.acknowledge(device.received[0])
    assert line.hub.c2d.count("dev1") == 1, "the first lock is lost"
    device.acknowledge(device.received[1])
    assert line.hub.c2d.count("dev1") == 0
    device.acknowledge(device.received[1])


def test_lock_that_ends_while_the_device_is_away_frees_the_message(line: Line) -> None:
    device = line.connect(silent=True)
    line.send(to=device)
    device.disconnect()
    assert line.hub.gateway.tick(NOW + LOCK_DURATION) == []
    assert bodies(line.connect(now=NOW + LOCK_DURATION)) == [b"hi"]


def test_new_connection_takes_over_what_the_old_one_held(line: Line) -> None:
    old = line.connect(silent=True)
    line.send(to=old)
    new = line.connect()
    assert bodies(new) == [b"hi"]
    assert line.hub.c2d.count("dev1") == 0


def test_51st_message_is_refused(line: Line) -> None:
    for _ in range(50):
        line.send()
    with pytest.raises(DeviceMaximumQueueDepthExceeded, match="50 messages"):
        line.send()
    assert line.hub.c2d.purge("dev1", NOW) == 50
    line.send()


def test_sequence_numbers_rise_though_the_queue_was_empty(line: Line) -> None:
    device = line.connect()
    assert [line.send(to=device).sequence for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("expires_at", [NOW, NOW - SECOND, NOW + timedelta(days=2, seconds=1)])
def test_expiry_must_be_ahead_but_not_far(line: Line, expires_at: datetime) -> None:
    with pytest.raises(InvalidMessageExpiryTime):
        line.send(expires_at=expires_at)
    line.send(expires_at=NOW + timedelta(days=2))


@pytest.mark.parametrize(
    ("body", "properties", "said"),
    [
        (b"x" * 65_537, {}, "has 65537 bytes, it may have 65536"),
        (b"x" * 65_535, {"a": "b"}, "has 65537 bytes"),
        (b"", {"a": "ü" * 15_000}, "MQTT takes 65535"),
    ],
)
def test_message_must_fit(line: Line, body: bytes, properties: dict[str, str | None], said: str) -> None:
    with pytest.raises(MessageTooLarge, match=said):
        line.send(body, properties=properties)


def test_unknown_device_is_not_sent_to(line: Line) -> None:
    with pytest.raises(DeviceNotFound):
        line.hub.c2d.send("dev2", MessageContent(b""), NOW)


def test_expired_message_is_not_delivered_even_before_its_tick(line: Line) -> None:
    line.connect().disconnect()
    line.send()
    assert bodies(line.connect(now=NOW + HOUR)) == []
    assert line.hub.c2d.count("dev1") == 1
    line.hub.gateway.tick(NOW + HOUR)
    assert line.hub.c2d.count("dev1") == 0


def test_locked_message_expires_too(line: Line) -> None:
    device = line.connect(silent=True)
    line.send(to=device, expires_at=NOW + SECOND, ack=Ack.FULL)
    device.tick(SECOND)
    assert line.hub.c2d.count("dev1") == 0
    assert [record["statusCode"] for record in feedback(line, NOW + SECOND * 16)] == ["Expired"]


def test_deleted_device_takes_its_messages_along(line: Line) -> None:
    line.send()
    line.hub.registry.delete("dev1")
    assert line.house.store.list("hub1.c2d") == []
    line.hub.gateway.tick(NOW + HOUR)
    assert line.house.store.list("hub1.c2d-deadlines") == []


def test_abandoned_message_is_dead_lettered_at_the_delivery_count(make_house: Any) -> None:
    line = Line(make_house(c2d_max_delivery_count=3))
    device = line.connect(silent=True)
    line.send(to=device, ack=Ack.NEGATIVE)
    for _ in range(2):
        line.hub.c2d.settle("dev1", line.lock_token(), C2dEvent.ABANDON, NOW)
        device.subscribe(C2D)
    line.hub.c2d.settle("dev1", line.lock_token(), C2dEvent.ABANDON, NOW)
    assert line.hub.c2d.count("dev1") == 0
    assert len(device.received) == 3
    assert [record["statusCode"] for record in feedback(line, NOW + SECOND * 15)] == ["DeliveryCountExceeded"]


def test_settling_needs_the_lock(line: Line) -> None:
    device = line.connect(silent=True)
    line.send(to=device)
    with pytest.raises(DeviceMessageLockLost):
        line.hub.c2d.settle("dev1", "other", C2dEvent.REJECT, NOW)
    line.hub.c2d.settle("dev1", line.lock_token(), C2dEvent.REJECT, NOW)
    assert line.hub.c2d.count("dev1") == 0


@pytest.mark.parametrize(
    ("ack", "told"), [("none", []), ("positive", ["a"]), ("negative", ["b"]), ("full", ["a", "b"])]
)
def test_sender_hears_of_the_ends_it_asked_for(line: Line, ack: str, told: list[str]) -> None:
    device = line.connect()
    line.send(to=device, message_id="a", ack=Ack(ack))
    device.disconnect()
    line.send(message_id="b", ack=Ack(ack))
    line.hub.c2d.purge("dev1", NOW)
    assert [record["originalMessageId"] for record in feedback(line, NOW + SECOND * 15)] == told


def test_feedback_record_is_what_services_read(line: Line) -> None:
    line.send(to=line.connect(), message_id="m", ack=Ack.FULL)
    assert feedback(line, NOW + SECOND * 15) == [
        {
            "originalMessageId": "m",
            "enqueuedTimeUtc": "2026-11-23T12:00:00.0000000Z",
            "statusCode": "Success",
            "description": "Success",
            "deviceId": "dev1",
            "deviceGenerationId": line.hub.registry.get("dev1").generation_id,
        }
    ]


def test_feedback_waits_15_seconds_or_for_64_records(line: Line) -> None:
    device = line.connect()
    line.send(to=device, ack=Ack.FULL)
    assert feedback(line, NOW + SECOND * 14) == []
    for _ in range(63):
        line.send(to=device, ack=Ack.FULL)
    assert len(feedback(line, NOW)) == 64


def test_feedback_is_locked_for_a_minute_abandoned_or_completed(line: Line) -> None:
    line.send(to=line.connect(), ack=Ack.FULL)
    line.hub.gateway.tick(NOW + SECOND * 15)
    queue = line.hub.feedback
    first = queue.receive(NOW)
    assert queue.receive(NOW) is None
    second = queue.receive(NOW + LOCK_DURATION)
    assert (first.sequence, first.body) == (second.sequence, second.body)
    with pytest.raises(DeviceMessageLockLost):
        queue.complete(first.lock_token, NOW + LOCK_DURATION)
    queue.abandon(second.lock_token, NOW + LOCK_DURATION)
    third = queue.receive(NOW + LOCK_DURATION)
    assert third.delivery_count == 1
    queue.complete(third.lock_token, NOW + LOCK_DURATION)
    assert queue.receive(NOW + HOUR / 2) is None


def test_feedback_abandoned_ten_times_is_gone(line: Line) -> None:
    line.send(to=line.connect(), ack=Ack.FULL)
    line.hub.gateway.tick(NOW + SECOND * 15)
    for _ in range(MAX_DELIVERY_COUNT):
        line.hub.feedback.abandon(line.hub.feedback.receive(NOW).lock_token, NOW)
    assert line.hub.feedback.receive(NOW) is None


def test_feedback_nobody_reads_is_gone_after_an_hour(line: Line) -> None:
    line.send(to=line.connect(), ack=Ack.FULL)
    begin = NOW + SECOND * 15
    line.hub.gateway.tick(begin)
    assert line.hub.feedback.receive(begin + HOUR) is None
    line.hub.gateway.tick(begin + HOUR)
    assert line.house.store.list("hub1.feedback") == []


def test_record_holds_everything(line: Line) -> None:
    device = line.connect(silent=True)
    message = line.send(
        b"\x00\xff", to=device, message_id="m", content_type="t", ack=Ack.FULL, expires_at=NOW + HOUR,
        properties={"a": None},
    )  # fmt: skip
    locked = line.hub.c2d._queue.get("dev1", 0)
    for each in (message, locked, replace(message, delivery_count=3)):
        assert parse_message_record("dev1/0000000000", format_message_record(each)) == each


def test_every_end_has_a_name_and_only_ends_have_one() -> None:
    ends = {event for (_, event), state in TRANSITIONS.items() if state not in HELD}
    assert ends == set(FEEDBACK_STATUS)
    assert all(before in HELD for before, _ in TRANSITIONS)
    assert set(TRANSITIONS.values()) == set(C2dState)
