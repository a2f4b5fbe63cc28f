import pytest

from broker.gateway import Close, ConnectRequest, ConnectReturnCode, Publish, Refusal
from certs.peer import PeerChain
from emulator.gateway_counts import BOUNDS, Durations, kind_of
from emulator.meter import NO_GATEWAY, Meter, MeteredBroker, MeteredRouter
from tests.doubles.gateway import HOST, NOW, StubGateway, StubSession, user_name

SESSION = StubSession("hub1/d1", "d1")


def connect_request(client_id: str = "d1") -> ConnectRequest:
    return ConnectRequest(client_id, user_name(client_id), None, True, 60, None, PeerChain(), "127.0.0.1:1")


@pytest.fixture
def meter():
    return Meter()


@pytest.fixture
def stub():
    return StubGateway(refused={"bad"})


@pytest.fixture
def gateway(meter, stub):
    return meter.gateway(stub, "hub1", "hub1/")


def receive(gateway, topic: str, payload: bytes = b"{}") -> list[object]:
    return gateway.receive(SESSION, topic, payload, 1, retain=False, dup=True, now=NOW)


def test_a_metered_gateway_asks_and_answers_as_the_real_one(gateway, stub):
    action = Close("hub1/d1", "why not")
    for name in ("on_opened", "on_receive", "on_acknowledged", "on_disconnected", "on_tick"):
        setattr(stub, name, lambda *_: [action])
    assert gateway.connect(connect_request(), NOW).device_id == "d1"
    assert gateway.opened(SESSION, NOW) == [action]
    assert gateway.may_subscribe(SESSION, "a/#")
    assert not gateway.may_subscribe(SESSION, "forbidden/#")
    assert gateway.subscribed(SESSION, [("a/#", 1)], NOW) == []
    assert gateway.unsubscribed(SESSION, ["a/#"], NOW) == []
    assert receive(gateway, "devices/d1/messages/events/") == [action]
    assert gateway.acknowledged(SESSION, "token", NOW) == [action]
    assert gateway.disconnected(SESSION, NOW, will=None) == [action]
    assert gateway.tick(NOW) == [action]
    assert [call[0] for call in stub.calls] == [
        "connect", "opened", "may_subscribe", "may_subscribe", "subscribed", "unsubscribed", "receive", "acknowledged",
        "disconnected", "tick",
    ]  # fmt: skip
    assert stub.named("receive") == [("hub1/d1", "devices/d1/messages/events/", b"{}", 1, False, True)]


def test_connects_are_counted_by_outcome(gateway, meter):
    gateway.connect(connect_request(), NOW)
    gateway.connect(connect_request("bad"), NOW)
    counts = meter.counts()[0]
    assert counts.accepted == 1
    assert counts.refusals == {(ConnectReturnCode.NOT_AUTHORIZED, "other"): 1}


def test_connections_are_counted_in_and_out(gateway, meter):
    gateway.opened(SESSION, NOW)
    gateway.opened(StubSession("hub1/d2", "d2"), NOW)
    gateway.disconnected(SESSION, NOW, will=None)
    assert meter.counts()[0].connected == 1


def test_messages_of_devices_are_counted_by_kind(gateway, meter):
    receive(gateway, "devices/d1/messages/events/", b"12345")
    receive(gateway, "$iothub/twin/GET/?$rid=1")
    receive(gateway, "$iothub/twin/PATCH/properties/reported/?$rid=2")
    counts = meter.counts()[0]
    assert (counts.telemetry, counts.telemetry_bytes) == (1, 5)
    assert counts.messages_in == {"twin": 2}


def test_a_message_on_which_the_gateway_fails_is_not_counted(gateway, meter, stub):
    stub.fails_in.add("receive")
    with pytest.raises(RuntimeError):
        receive(gateway, "devices/d1/messages/events/")
    assert meter.counts()[0].telemetry == 0


@pytest.mark.parametrize(
    ("topic", "kind"),
    [
        ("$iothub/twin/res/200/?$rid=1", "twin"), ("$iothub/methods/POST/reboot/?$rid=1", "method"),
        ("$iothub/credentials/res/202/?$rid=1", "credential"), ("$dps/registrations/res/202/?$rid=1", "registration"),
        ("devices/d1/messages/devicebound/", "c2d"), ("$elsewhere", "other"),
    ],
)  # fmt: skip
def test_kinds_of_messages(topic, kind):
    assert kind_of(topic) == kind


def test_messages_to_devices_are_counted_at_the_gateway_of_their_session(gateway, meter):
    meter.sent(Publish("hub1/d1/module", "$iothub/methods/POST/reboot/?$rid=1", b""))
    meter.sent(Publish("hub9/d1", "devices/d1/messages/devicebound/", b""))
    assert meter.counts()[0].messages_out == {"method": 1}
    assert meter.unrouted.messages_out == {"c2d": 1}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"operationId":"4.x","status":"assigned","registrationState":{"status":"assigned"}}', "assigned"),
        (b'{"operationId":"4.x","status":"failed","registrationState":{}}', "failed"),
        (b'{"operationId":"4.x","status": "disabled"}', "disabled"),
        (b'{"operationId":"4.x","status":"assigning"}', ""),
        (b'{"errorCode":401002,"message":"no"}', ""),
        (b"\xff", ""),
    ],
)
def test_registrations_are_counted_by_the_outcome_that_a_device_is_told(meter, body, told):
    meter.sent(Publish("dps/0ne1/d1", "$dps/registrations/res/200/?$rid=1", body))
    assert {status for status, count in meter.registrations.items() if count} == ({told} if told else set())


def test_connections_that_name_no_gateway_are_counted(meter, gateway):
    router = MeteredRouter(meter, {}, {HOST: gateway})
    assert router.find(user_name("d1")) is gateway
    assert isinstance(router.find("elsewhere/d1/?api-version=1"), Refusal)
    assert meter.unrouted.gateway == NO_GATEWAY
    assert meter.unrouted.refusals == {(5, "unknown_service"): 1}


def test_a_commit_is_timed_and_with_it_the_wait_of_the_first_message(gateway, meter):
    commit = meter.commit(lambda: None)
    receive(gateway, "devices/d1/messages/events/")
    receive(gateway, "devices/d1/messages/events/")
    commit()
    commit()
    assert dict(meter.commits.cumulative())["+Inf"] == 2
    assert dict(meter.answers.cumulative())["+Inf"] == 1
    assert meter.answers.total >= 0


def test_a_failed_commit_is_counted_and_its_messages_have_no_answer(gateway, meter):
    def fail() -> None:
        raise OSError("disk full")

    receive(gateway, "devices/d1/messages/events/")
    with pytest.raises(OSError, match="disk full"):
        meter.commit(fail)()
    assert meter.failed_commits == 1
    meter.commit(lambda: None)()
    assert dict(meter.answers.cumulative())["+Inf"] == 0


async def test_a_metered_broker_counts_what_it_sends_and_its_commits(gateway, meter):
    commits = []
    broker = MeteredBroker(meter, MeteredRouter(meter, {}, {HOST: gateway}), lambda: commits.append(1), lambda: NOW)
    broker.perform([Publish("hub1/d1", "devices/d1/messages/devicebound/", b""), Close("hub1/d1", "why not")])
    broker.outbox.flush()
    assert meter.counts()[0].messages_out == {"c2d": 1}
    assert commits == [1]
    assert dict(meter.commits.cumulative())["+Inf"] == 1


def test_durations_are_counted_up_to_and_with_their_bound():
    durations = Durations()
    for seconds in (BOUNDS[0], 0.0003, 100.0):
        durations.add(seconds)
    cumulative = dict(durations.cumulative())
    assert cumulative[str(BOUNDS[0])] == 1
    assert cumulative["0.00025"] == 1
    assert cumulative["0.0005"] == 2
    assert cumulative["2.5"] == 2
    assert cumulative["+Inf"] == 3
    assert durations.total == pytest.approx(100.00035)
