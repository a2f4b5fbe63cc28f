import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from broker.packets import Connack, Connect, Disconnect, Packet, Puback, Publish, Suback, Subscribe
from certs.keys import KeyType, generate_key
from device_sim import engine as engine_module
from device_sim.credential import SymmetricKey
from device_sim.engine import Engine, settings_of
from device_sim.file_limit import TooManyDevices
from device_sim.key_pool import DeviceKey
from device_sim.recorder import DeviceState, Recorder
from device_sim.scenario import Scenario
from device_sim.settings import DeviceSettings
from device_sim.summary import Snapshot

GROUP_KEY = "c2VjcmV0"


def credential(device: int) -> SymmetricKey:
    return SymmetricKey.of_group(GROUP_KEY, f"sensor-{device:03}")


@pytest.fixture
def make_engine(cloud: Any, settings: DeviceSettings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make an engine in front of the services of `cloud`; what it records is in `engine.recorder`."""
    monkeypatch.setattr(engine_module, "Dialer", lambda _anchors: cloud)
    monkeypatch.setattr(engine_module, "read_trust_anchors", lambda _file: ())

    def make(scenario: dict[str, Any], **options: Any) -> Engine:
        loop = asyncio.get_running_loop()
        recorder = Recorder(loop.time)
        options = {"now": lambda: cloud.now + timedelta(seconds=loop.time()), **options}
        engine = Engine(Scenario.model_validate(scenario), settings, credential, recorder, **options)
        engine.recorder = recorder  # type: ignore[attr-defined]
        return engine

    return make


@pytest.fixture
def ran(run: Any, make_engine: Any) -> Any:
    """Run a scenario to its end; give what was recorded, and the seconds that passed."""

    def run_scenario(scenario: dict[str, Any], **options: Any) -> tuple[Snapshot, float]:
        async def go() -> Snapshot:
            engine = make_engine(scenario, **options)
            await engine.run()
            return engine.recorder.snapshot()

        result: tuple[Snapshot, float] = run(go())
        return result

    return run_scenario


def refusing(client_ids: set[str], code: int = 5) -> Callable[[Any, Packet], list[Packet] | None]:
    """Refuse these clients' CONNECT."""

    def reply(_wire: Any, packet: Packet) -> list[Packet] | None:
        if isinstance(packet, Connect) and packet.client_id in client_ids:
            return [Connack(session_present=False, return_code=code)]
        return None

    return reply


def times(snapshot: Snapshot, name: str) -> int:
    measured = snapshot.measured(name)
    return measured.times if measured is not None else 0


def acknowledge(_wire: Any, packet: Packet) -> list[Packet]:
    """Answer as a broker does, before what a service has to say."""
    assert isinstance(packet, Publish)
    return [Puback(packet.packet_id)] if packet.packet_id is not None else []


def errors(snapshot: Snapshot) -> dict[str, int]:
    return {each.reason: each.count for each in snapshot.errors}


def telemetry_moments(cloud: Any) -> list[str]:
    return [packet.topic for packet in cloud.sent(Publish) if packet.topic.startswith("devices/")]


# --- coming and going ---


def test_every_device_is_onboarded_sends_and_leaves_in_order(cloud: Any, ran: Any) -> None:
    snapshot, _ = ran({"devices": 5, "behaviour": {"telemetry": {"messages": 3}}})
    assert snapshot.states["finished"] == 5
    assert [times(snapshot, name) for name in ("registration", "onboarding", "telemetry", "first_puback")] == [
        5,
        5,
        15,
        5,
    ]
    assert snapshot.errors == ()
    assert cloud.registrations == 5
    assert len(cloud.sent(Disconnect)) == 10, "five from DPS, five from the hub"
    assert all(wire.closing for wire in cloud.wires)


def test_latency_counts_from_the_intended_start_not_from_when_there_was_room(ran: Any) -> None:
    snapshot, seconds = ran({"devices": 4, "concurrency": 1})
    onboarding = snapshot.measured("onboarding")
    assert seconds == pytest.approx(12, abs=0.1), "one at a time, each told once to come back after 3 s"
    assert onboarding is not None
    assert onboarding.histogram.maximum == pytest.approx(12, rel=0.01)
    assert onboarding.histogram.minimum == pytest.approx(3, rel=0.01)


def test_devices_arrive_at_their_rate_whatever_the_services_do(cloud: Any, ran: Any) -> None:
    began: list[float] = []

    def reply(_wire: Any, packet: Packet) -> list[Packet] | None:
        if isinstance(packet, Connect) and (packet.user_name or "").startswith("0ne"):
            began.append(asyncio.get_running_loop().time())
            return []
        return None

    cloud.reply = reply
    ran({"devices": 10, "arrival": {"kind": "rate", "per_second": 2}, "retry": {"attempts": 1}})
    assert began == pytest.approx([number / 2 for number in range(10)], abs=0.002)


def test_waves_of_more_devices_than_begin_in_one_turn_arrive(ran: Any) -> None:
    snapshot, seconds = ran({"devices": 250, "arrival": {"kind": "waves", "size": 120, "every_seconds": 10}})
    assert times(snapshot, "onboarding") == 250
    assert seconds == pytest.approx(23, abs=0.1)


def test_idle_fleet_stays_for_the_duration(cloud: Any, ran: Any) -> None:
    snapshot, seconds = ran({"devices": 3, "duration_seconds": 500})
    assert seconds == pytest.approx(500, abs=0.1)
    assert snapshot.states["finished"] == 3
    assert len(cloud.hub_wires()) == 3, "keep-alive held the connections"


def test_condition_ends_the_run(ran: Any) -> None:
    scenario = {"devices": 2, "behaviour": {"telemetry": {"messages_per_second": 1}}, "stop_when": ["telemetry >= 40"]}
    snapshot, seconds = ran(scenario)
    assert 40 <= times(snapshot, "telemetry") <= 43
    assert seconds == pytest.approx(23, abs=2)


@pytest.mark.parametrize(
    ("limits", "stopped_by"),
    [({"stop_when": ["errors > 100", "telemetry >= 4"]}, "telemetry >= 4"), ({"duration_seconds": 10}, "")],
    ids=["by a condition", "by its duration"],
)
def test_condition_that_ended_the_run_is_told(
    run: Any, make_engine: Any, limits: dict[str, Any], stopped_by: str
) -> None:
    async def scenario() -> str:
        engine = make_engine({"devices": 2, "behaviour": {"telemetry": {"messages_per_second": 1}}, **limits})
        await engine.run()
        return str(engine.stopped_by)

    told, _ = run(scenario())
    assert told == stopped_by


def test_stop_lets_devices_leave_in_order(cloud: Any, run: Any, make_engine: Any) -> None:
    async def scenario() -> None:
        engine = make_engine({"devices": 3, "behaviour": {"telemetry": {"messages_per_second": 1}}})
        engine.stop()
        running = asyncio.ensure_future(engine.run())
        await asyncio.sleep(60)
        engine.stop()
        await running
        engine.stop()

    run(scenario())
    assert all(isinstance(wire.received[-1], Disconnect) for wire in cloud.hub_wires())
    assert all(wire.closing for wire in cloud.wires)


def test_cancelled_run_leaves_no_connection_behind(cloud: Any, run: Any, make_engine: Any) -> None:
    async def scenario() -> None:
        running = asyncio.ensure_future(
            make_engine({"devices": 30, "arrival": {"kind": "rate", "per_second": 3}}).run()
        )
        await asyncio.sleep(7.1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await asyncio.sleep(10)

    run(scenario())
    assert len(cloud.wires) > 20
    assert all(wire.closing for wire in cloud.wires)


def test_device_that_is_done_may_leave_before_the_others(cloud: Any, ran: Any) -> None:
    behaviour = {"telemetry": {"messages": 1}, "leave_when_done": True}
    snapshot, seconds = ran({"devices": 3, "arrival": {"kind": "rate", "per_second": 0.1}, "behaviour": behaviour})
    assert snapshot.states["finished"] == 3
    assert seconds == pytest.approx(23, abs=0.1)
    assert snapshot.errors == ()


def test_part_of_a_fleet_has_its_own_devices(cloud: Any, ran: Any) -> None:
    ran({"devices": 2}, first_device=40)
    assert {wire.connect.client_id for wire in cloud.hub_wires()} == {"sensor-040", "sensor-041"}


def test_more_devices_than_files_are_refused_before_anything_begins(cloud: Any, ran: Any) -> None:
    with pytest.raises(TooManyDevices):
        ran({"devices": 1_000_000})
    assert cloud.wires == []


def test_scenario_decides_about_connections_before_the_target(settings: DeviceSettings) -> None:
    scenario = Scenario.model_validate({"csr": False, "connection": {"keep_alive_seconds": 7, "clean_session": True}})
    mine = settings_of(scenario, settings)
    assert (mine.keep_alive_seconds, mine.clean_session, mine.request_certificate) == (7, True, False)
    assert mine.dps_host == settings.dps_host


def test_defect_of_ours_ends_the_run_and_is_raised(cloud: Any, ran: Any) -> None:
    def keys(device: int, _generation: int) -> Any:
        raise LookupError(f"no key for {device}")

    with pytest.raises(LookupError, match="no key for 0"):
        ran({"devices": 1, "duration_seconds": 1000}, keys=keys)


# --- what goes wrong ---


def test_refused_devices_are_tried_again_and_counted_each_time(cloud: Any, ran: Any) -> None:
    cloud.reply = refusing({"sensor-001", "sensor-002"})
    snapshot, seconds = ran(
        {"devices": 4, "retry": {"attempts": 3, "jitter": 0}, "behaviour": {"telemetry": {"messages": 1}}}
    )
    assert errors(snapshot) == {"ConnectionRefused 5": 6}
    assert {each.phase for each in snapshot.errors} == {"dps_connack"}
    assert (snapshot.states["failed"], snapshot.states["finished"]) == (2, 2)
    assert times(snapshot, "telemetry") == 2
    assert seconds == pytest.approx(3, abs=0.1), "1 + 2 seconds of waiting"


def test_throttled_registration_is_counted_and_waits_as_long_as_it_is_told(cloud: Any, ran: Any) -> None:
    throttled: list[float] = []

    def reply(_wire: Any, packet: Packet) -> list[Packet] | None:
        if isinstance(packet, Publish) and "/PUT/" in packet.topic and len(throttled) < 2:
            throttled.append(asyncio.get_running_loop().time())
            rid = packet.topic.partition("$rid=")[2]
            body = b'{"errorCode": 429001}'
            return [*acknowledge(None, packet), Publish(f"$dps/registrations/res/429/?$rid={rid}&retry-after=20", body)]
        return None

    cloud.reply = reply
    snapshot, seconds = ran({"devices": 1})
    assert errors(snapshot) == {"throttled 429001": 2}
    assert times(snapshot, "onboarding") == 1
    assert 43 <= seconds <= 63.1, "no earlier than told, and by up to half as much later"


def test_lost_connection_is_counted_and_made_again_without_dps(cloud: Any, ran: Any) -> None:
    def reply(wire: Any, packet: Packet) -> list[Packet] | None:
        if isinstance(packet, Publish) and packet.topic.startswith("devices/") and len(cloud.hub_wires()) == 1:
            asyncio.get_running_loop().call_later(1, wire.close)
            return []
        return None

    cloud.reply = reply
    snapshot, _ = ran({"devices": 1, "behaviour": {"telemetry": {"messages": 2}}})
    assert errors(snapshot) == {"ConnectionLost": 1}
    assert cloud.registrations == 1
    assert len(cloud.hub_wires()) == 2
    assert times(snapshot, "telemetry") == 2, "what was not acknowledged was sent again"


def test_refused_certificate_leads_back_to_dps(cloud: Any, ran: Any) -> None:
    def reply(_wire: Any, packet: Packet) -> list[Packet] | None:
        is_hub = isinstance(packet, Connect) and (packet.user_name or "").startswith("hub1")
        return [Connack(session_present=False, return_code=5)] if is_hub and len(cloud.hub_wires()) == 2 else None

    cloud.reply = reply
    snapshot, _ = ran({"devices": 1, "behaviour": {"reconnect": {"after_seconds": 5}}})
    assert errors(snapshot) == {"ConnectionRefused 5": 1}
    assert cloud.registrations == 2
    assert snapshot.states["finished"] == 1


def test_unacknowledged_message_ends_the_connection(cloud: Any, ran: Any) -> None:
    def reply(_wire: Any, packet: Packet) -> list[Packet] | None:
        is_first = isinstance(packet, Publish) and packet.topic.startswith("devices/") and len(cloud.hub_wires()) == 1
        return [] if is_first else None

    cloud.reply = reply
    snapshot, seconds = ran({"devices": 1, "behaviour": {"telemetry": {"messages": 1}}, "retry": {"jitter": 0}})
    assert errors(snapshot) == {"ConnectionLost": 1}
    assert times(snapshot, "telemetry") == 1
    assert seconds == pytest.approx(3 + 30 + 1, abs=0.1)


def test_unreachable_service_is_counted_by_its_reason(cloud: Any, ran: Any) -> None:
    cloud.unreachable = {"hub1.example"}
    snapshot, _ = ran({"devices": 2, "retry": {"attempts": 2}})
    assert errors(snapshot) == {"ServerUnreachable": 4}
    assert {each.phase for each in snapshot.errors} == {"hub_tls"}
    assert snapshot.states["failed"] == 2


def test_power_loss_costs_one_registration_and_keeps_the_key(cloud: Any, ran: Any) -> None:
    csrs: list[str] = []

    def reply(_wire: Any, packet: Packet) -> list[Packet] | None:
        if isinstance(packet, Publish) and "/PUT/" in packet.topic:
            csrs.append(json.loads(packet.payload)["csr"])
        return None

    cloud.reply = reply
    made: list[int] = []

    def keys(device: int, generation: int) -> Any:
        made.append(generation)
        return engine_module.KeyPool(settings_key_type()).key(device)

    snapshot, _ = ran({"devices": 1, "device_faults": {"power_loss": 1}}, keys=keys)
    assert errors(snapshot) == {"PowerLost": 1}
    assert cloud.registrations == 2
    assert made == [0], "the key of the certificate that was lost is used again"
    assert snapshot.states["finished"] == 1


def test_what_was_prepared_of_a_key_goes_to_dps_and_to_tls_with_its_own_certificate_only(cloud: Any, ran: Any) -> None:
    prepared = [DeviceKey.prepared(generate_key(KeyType.P256)).for_device("sensor-000") for _ in range(2)]
    snapshot, _ = ran(
        {
            "devices": 1,
            "behaviour": {
                "renewal": {"after_seconds": 10, "every_seconds": 1000, "reconnect": True},
                "telemetry": {"messages_per_second": 0.1, "messages": 3},
            },
            "duration_seconds": 100,
        },
        keys=lambda _device, generation: prepared[generation],
    )
    assert snapshot.errors == ()
    csrs = [json.loads(packet.payload).get("csr") for packet in cloud.sent(Publish) if b'"csr"' in packet.payload]
    assert csrs == [each.csr for each in prepared]
    first, second = (wire.certificate for wire in cloud.hub_wires())
    assert first.identity._key is prepared[0].tls
    assert first.key is prepared[0].private
    assert second.identity._key not in [each.tls for each in prepared], "read from the device's memory"


def settings_key_type() -> Any:
    return Scenario().key_type


# --- at the hub ---


def test_telemetry_keeps_its_rate(cloud: Any, ran: Any) -> None:
    behaviour = {"telemetry": {"messages_per_second": 0.5, "size_bytes": 100}}
    snapshot, _ = ran({"devices": 10, "behaviour": behaviour, "duration_seconds": 103})
    assert times(snapshot, "telemetry") == pytest.approx(10 * 50, abs=10)
    published = [packet for packet in cloud.sent(Publish) if packet.topic.startswith("devices/")]
    assert {len(packet.payload) for packet in published} == {100}
    assert {packet.topic.rpartition("/")[2] for packet in published} == {"%24.ct=application%2Fjson&%24.ce=utf-8"}


def test_latency_of_a_late_message_counts_from_when_it_was_due(cloud: Any, ran: Any) -> None:
    def reply(wire: Any, packet: Packet) -> list[Packet] | None:
        if not (isinstance(packet, Publish) and packet.topic.startswith("devices/")):
            return None
        loop = asyncio.get_running_loop()
        loop.call_at(max(loop.time(), 25), lambda: wire.send(*acknowledge(wire, packet)))  # it stands still until then
        return []

    cloud.reply = reply
    behaviour = {"telemetry": {"messages_per_second": 5, "messages": 60}}
    snapshot, _ = ran({"devices": 1, "behaviour": behaviour})
    telemetry = snapshot.measured("telemetry")
    assert telemetry is not None
    assert telemetry.times == 60
    # Sixteen were sent and held; the others waited for them, and each is late by the whole time.
    assert sum(count for value, count in latencies(telemetry) if value > 5) == 60


def latencies(measured: Any) -> list[tuple[float, int]]:
    histogram = measured.histogram
    return [(histogram.quantile((rank + 0.5) / histogram.count), 1) for rank in range(histogram.count)]


def test_messages_without_a_rate_follow_each_other(cloud: Any, ran: Any) -> None:
    snapshot, seconds = ran({"devices": 1, "behaviour": {"telemetry": {"messages": 100}}})
    assert times(snapshot, "telemetry") == 100
    assert seconds == pytest.approx(3, abs=0.3)


def test_messages_of_qos_0_are_not_waited_for(cloud: Any, ran: Any) -> None:
    snapshot, _ = ran({"devices": 1, "behaviour": {"telemetry": {"messages": 10, "qos": 0}}})
    assert times(snapshot, "telemetry") == 10
    assert {packet.qos for packet in cloud.sent(Publish) if packet.topic.startswith("devices/")} == {0}


def test_template_and_properties_reach_the_wire(cloud: Any, ran: Any) -> None:
    telemetry = {"messages": 2, "template": '{"n": $message, "id": "$device_id"}', "properties": {"a b": "1"}}
    ran({"devices": 1, "behaviour": {"telemetry": telemetry}})
    published = [packet for packet in cloud.sent(Publish) if packet.topic.startswith("devices/")]
    assert [json.loads(packet.payload) for packet in published] == [{"n": n, "id": "sensor-000"} for n in (1, 2)]
    assert published[0].topic == "devices/sensor-000/messages/events/a%20b=1"


def test_twins_are_reported_and_their_answers_counted(cloud: Any, ran: Any) -> None:
    snapshot, _ = ran({"devices": 2, "behaviour": {"twin_reports_per_minute": 6}, "duration_seconds": 123})
    assert times(snapshot, "twin") == pytest.approx(24, abs=2)
    assert snapshot.errors == ()
    assert {subscribe.topic_filters for subscribe in cloud.sent(Subscribe)} >= {(("$iothub/twin/res/#", 1),)}


def test_refused_and_unanswered_twin_reports_are_counted(cloud: Any, ran: Any) -> None:
    def reply(_wire: Any, packet: Packet) -> list[Packet] | None:
        if not (isinstance(packet, Publish) and packet.topic.startswith("$iothub/twin/PATCH")):
            return None
        rid = packet.topic.partition("$rid=")[2]
        answers = [Publish(f"$iothub/twin/res/400/?$rid={rid}")] if rid == "1" else []
        return [*acknowledge(None, packet), *answers]

    cloud.reply = reply
    scenario = {"devices": 1, "behaviour": {"twin_reports_per_minute": 600}, "duration_seconds": 8}
    snapshot, _ = ran({**scenario, "connection": {"timeout_seconds": 2}})
    assert errors(snapshot)["twin report 400"] == 1
    assert errors(snapshot)["twin report unanswered"] > 15
    reports = [packet for packet in cloud.sent(Publish) if packet.topic.startswith("$iothub/twin")]
    assert len(reports) < 50, "no more than sixteen wait at a time"


def test_methods_are_answered_and_messages_taken(cloud: Any, ran: Any) -> None:
    answers: list[Publish] = []

    def reply(wire: Any, packet: Packet) -> list[Packet] | None:
        if isinstance(packet, Subscribe) and "$iothub/methods/POST/#" in dict(packet.topic_filters):
            loop = asyncio.get_running_loop()
            loop.call_later(1, lambda: wire.send(Publish("$iothub/methods/POST/re%20boot/?$rid=a1", b'{"delay": 3}')))
            loop.call_later(2, lambda: wire.send(Publish("$iothub/methods/POST/ping/?$rid=a2")))
            topic = "devices/sensor-000/messages/devicebound/%24.to=x"
            loop.call_later(3, lambda: wire.send(Publish(topic, b"hello", 1, packet_id=9)))
        if isinstance(packet, Publish) and packet.topic.startswith("$iothub/methods/res/"):
            answers.append(packet)
        return None

    cloud.reply = reply
    behaviour = {"answer_methods": True, "receive_c2d": True}
    snapshot, _ = ran({"devices": 1, "behaviour": behaviour, "duration_seconds": 20})
    assert [(answer.topic, answer.payload) for answer in answers] == [
        ("$iothub/methods/res/200/?$rid=a1", b'{"delay": 3}'),
        ("$iothub/methods/res/200/?$rid=a2", b"null"),
    ]
    assert (times(snapshot, "method"), times(snapshot, "c2d")) == (2, 1)
    filters = {"$iothub/methods/POST/#", "devices/sensor-000/messages/devicebound/#"}
    assert filters in [set(dict(subscribe.topic_filters)) for subscribe in cloud.sent(Subscribe)]


def test_method_topic_that_cannot_be_read_ends_the_connection(cloud: Any, ran: Any) -> None:
    def reply(wire: Any, packet: Packet) -> list[Packet] | None:
        if isinstance(packet, Subscribe) and "$iothub/methods/POST/#" in dict(packet.topic_filters):
            asyncio.get_running_loop().call_later(1, lambda: wire.send(Publish("$iothub/methods/POST/nothing")))
        return None

    cloud.reply = reply
    snapshot, _ = ran({"devices": 1, "behaviour": {"answer_methods": True}, "duration_seconds": 4.5})
    assert errors(snapshot) == {"ConnectionLost": 1}


def test_refused_subscription_is_a_failure_and_no_open_connection(cloud: Any, ran: Any) -> None:
    def reply(_wire: Any, packet: Packet) -> list[Packet] | None:
        if isinstance(packet, Subscribe) and packet.topic_filters[0][0].startswith("devices/"):
            return [Suback(packet.packet_id, (0x80,))]
        return None

    cloud.reply = reply
    snapshot, _ = ran({"devices": 1, "behaviour": {"receive_c2d": True}, "retry": {"attempts": 1}})
    assert errors(snapshot) == {"SubscriptionRefused": 1}
    assert snapshot.states["failed"] == 1
    assert all(wire.closing for wire in cloud.wires)


# --- coming back, renewing ---


def test_fleet_reconnects_at_one_moment_as_often_as_it_is_to(cloud: Any, ran: Any) -> None:
    reconnect = {"timing": "together", "after_seconds": 5, "every_seconds": 15, "times": 3, "abrupt": True}
    snapshot, seconds = ran({"devices": 20, "behaviour": {"reconnect": reconnect}})
    assert snapshot.reconnects == 60
    assert cloud.registrations == 20, "certificates are kept"
    assert snapshot.errors == ()
    assert seconds == pytest.approx(3 + 5 + 15 + 15, abs=0.2)
    left = [wire for wire in cloud.hub_wires() if not isinstance(wire.received[-1], Disconnect)]
    assert len(left) == 60, "three times each without a word"


def test_device_reconnects_by_itself_and_through_dps(cloud: Any, ran: Any) -> None:
    reconnect = {"after_seconds": 10, "every_seconds": 20, "times": 2, "offline_seconds": 4, "via_dps": True}
    snapshot, seconds = ran({"devices": 3, "behaviour": {"reconnect": reconnect}})
    assert snapshot.reconnects == 6
    assert cloud.registrations == 9
    assert times(snapshot, "registration") == 9
    assert seconds == pytest.approx(3 + 10 + 20 + 4 + 3, abs=0.2)


def test_telemetry_goes_on_over_the_next_connection(cloud: Any, ran: Any) -> None:
    behaviour = {
        "telemetry": {"messages_per_second": 1, "messages": 30},
        "reconnect": {"after_seconds": 10, "offline_seconds": 5},
    }
    snapshot, _ = ran({"devices": 4, "behaviour": behaviour})
    assert times(snapshot, "telemetry") == 120
    assert snapshot.errors == ()


def test_fleet_renews_at_one_moment_and_connects_with_the_new_certificates(cloud: Any, ran: Any) -> None:
    snapshot, seconds = ran({"devices": 10, "behaviour": {"renewal": {"timing": "together", "after_seconds": 5}}})
    assert times(snapshot, "renewal") == 10
    assert snapshot.errors == ()
    assert seconds == pytest.approx(8, abs=0.2)
    serials = {wire.certificate.leaf.serial_number for wire in cloud.hub_wires()}
    assert len(cloud.hub_wires()) == len(serials) == 20
    assert cloud.registrations == 10


def test_device_renews_at_a_fraction_of_its_certificates_lifetime(cloud: Any, ran: Any) -> None:
    cloud.validity = timedelta(minutes=55)
    snapshot, seconds = ran({"devices": 1, "behaviour": {"renewal": {"fraction": 0.5}}})
    assert times(snapshot, "renewal") == 1
    assert seconds == pytest.approx(25 * 60, abs=1), "half of the hour that began five minutes ago"


def test_device_renews_earlier_when_the_time_it_lives_by_is_moved(cloud: Any, run: Any, make_engine: Any) -> None:
    cloud.validity = timedelta(minutes=55)
    ahead = [timedelta()]

    async def go() -> Snapshot:
        loop = asyncio.get_running_loop()
        now = lambda: cloud.now + ahead[0] + timedelta(seconds=loop.time())  # noqa: E731
        engine = make_engine({"devices": 2, "behaviour": {"renewal": {"fraction": 0.5}}}, now=now)

        def move() -> None:
            ahead[0] = timedelta(minutes=20)
            engine.follow_clock()

        loop.call_later(10, move)
        await engine.run()
        return engine.recorder.snapshot()

    snapshot, seconds = run(go())
    assert times(snapshot, "renewal") == 2
    assert seconds == pytest.approx(5 * 60, abs=4), "25 minutes of the certificate's life, 20 of them skipped"


def test_clock_that_is_moved_changes_nothing_for_renewals_at_an_interval(
    cloud: Any, run: Any, make_engine: Any
) -> None:
    async def go() -> Snapshot:
        engine = make_engine({"devices": 2, "behaviour": {"renewal": {"after_seconds": 50}}})
        asyncio.get_running_loop().call_later(10, engine.follow_clock)
        await engine.run()
        return engine.recorder.snapshot()

    snapshot, seconds = run(go())
    assert times(snapshot, "renewal") == 2
    assert seconds == pytest.approx(53, abs=4)


def test_device_renews_again_and_again_without_reconnecting(cloud: Any, ran: Any) -> None:
    renewal = {"after_seconds": 5, "every_seconds": 10, "reconnect": False}
    snapshot, _ = ran({"devices": 2, "behaviour": {"renewal": renewal}, "duration_seconds": 60})
    assert times(snapshot, "renewal") == 2 * 6
    assert len(cloud.hub_wires()) == 2


def test_refused_renewal_is_tried_again_when_the_hub_says(cloud: Any, ran: Any) -> None:
    refused: list[float] = []

    def reply(_wire: Any, packet: Packet) -> list[Packet] | None:
        if isinstance(packet, Publish) and packet.topic.startswith("$iothub/credentials") and len(refused) < 2:
            refused.append(asyncio.get_running_loop().time())
            rid = packet.topic.partition("$rid=")[2]
            body = b'{"errorCode": 429002, "message": "slow down", "retryAfter": 25}'
            return [*acknowledge(None, packet), Publish(f"$iothub/credentials/res/429/?$rid={rid}", body)]
        return None

    cloud.reply = reply
    snapshot, seconds = ran({"devices": 1, "behaviour": {"renewal": {"after_seconds": 5}}})
    assert errors(snapshot) == {"CredentialError 429002": 2}
    assert times(snapshot, "renewal") == 1
    assert 3 + 5 + 50 <= seconds <= 3 + 5 + 75.2, "no earlier than told, and by up to half as much later"


def test_reconnect_waits_for_a_renewal_under_way(cloud: Any, ran: Any) -> None:
    def reply(wire: Any, packet: Packet) -> list[Packet] | None:
        if not (isinstance(packet, Publish) and packet.topic.startswith("$iothub/credentials")):
            return None
        rid = packet.topic.partition("$rid=")[2]
        answers = cloud._renew(rid, json.loads(packet.payload))
        asyncio.get_running_loop().call_later(10, lambda: wire.send(*answers))
        return acknowledge(None, packet)

    cloud.reply = reply
    behaviour = {
        "renewal": {"after_seconds": 5, "reconnect": False},
        "reconnect": {"timing": "together", "after_seconds": 7},
    }
    snapshot, _ = ran({"devices": 2, "behaviour": behaviour})
    assert snapshot.errors == ()
    assert (times(snapshot, "renewal"), snapshot.reconnects) == (2, 2)


def test_run_repeats_its_decisions_for_one_seed(cloud: Any, ran: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    behaviour = {
        "telemetry": {"messages_per_second": 0.1},
        "think_times": {"before_connect_seconds": [0, 5]},
        "reconnect": {"after_seconds": 10, "share": 0.5, "offline_seconds": [0, 9]},
    }

    def moments(seed: int) -> list[tuple[str, float]]:
        del cloud.wires[:]
        seen: list[tuple[str, float]] = []

        def reply(_wire: Any, packet: Packet) -> list[Packet] | None:
            if isinstance(packet, Connect | Publish):
                topic = packet.client_id if isinstance(packet, Connect) else packet.topic
                seen.append((topic, round(asyncio.get_running_loop().time(), 2)))
            return None

        cloud.reply = reply
        cloud.timers = type(cloud.timers)()
        ran({"devices": 8, "behaviour": behaviour, "duration_seconds": 60, "seed": seed})
        return seen

    assert moments(3) == moments(3) != moments(4)


def test_states_add_up_at_any_moment(cloud: Any, run: Any, make_engine: Any) -> None:
    cloud.reply = refusing({"sensor-003"})

    async def scenario() -> None:
        engine = make_engine(
            {
                "devices": 10,
                "arrival": {"kind": "rate", "per_second": 1},
                "behaviour": {"reconnect": {"after_seconds": 4, "every_seconds": 4, "times": 3, "offline_seconds": 2}},
            }
        )
        running = asyncio.ensure_future(engine.run())
        await asyncio.sleep(0)
        while not running.done():
            states = engine.recorder.snapshot().states
            assert sum(states.values()) == 10
            assert min(states.values()) >= 0
            await asyncio.sleep(0.7)
        assert engine.recorder.snapshot().states[DeviceState.FAILED] == 1

    run(scenario())
