from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broker.gateway import Close, ConnectReturnCode, Publish, Refusal, Withhold
from emulator.faults.fault import Operation
from emulator.faults.quota import Limit, Quota, ServiceOperation, Tier, dps_limits, hub_limits
from emulator.faults.quota_gateway import QuotaGateway
from emulator.faults.wire import HubWire

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ONE_A_SECOND = {each: (Limit(each.value, 1, 2),) for each in (Operation.TELEMETRY, Operation.TWIN, Operation.CONNECT)}
# What waits over ten seconds.
SLOW = {Operation.TELEMETRY: (Limit("sends", 0.05, 1),)}


def takes(quota: Quota, count: int, operation: Operation = Operation.TELEMETRY, now: datetime = NOW) -> list[float]:
    return [quota.take(operation, "dev1", now) for _ in range(count)]


class TestQuota:
    def test_burst_is_let_through_and_the_rest_waits_in_turn(self) -> None:
        quota = Quota("hub1", ONE_A_SECOND)
        assert takes(quota, 5) == [0, 0, 1, 2, 3]
        assert takes(quota, 1, now=NOW + 10 * SECOND) == [0]

    def test_what_would_wait_too_long_takes_no_turn(self) -> None:
        quota = Quota("hub1", SLOW)
        assert takes(quota, 3) == [0, 20, 20]

    def test_clock_that_goes_back_gives_and_takes_nothing(self) -> None:
        quota = Quota("hub1", ONE_A_SECOND)
        takes(quota, 2)
        assert takes(quota, 1, now=NOW - 100 * SECOND) == [1]

    def test_operation_without_a_limit_never_waits(self) -> None:
        assert takes(Quota("hub1", ONE_A_SECOND), 1000, Operation.SUBSCRIBE)[-1] == 0

    def test_report_names_the_limit_and_the_devices_beyond_it(self) -> None:
        quota = Quota("hub1", {Operation.TELEMETRY: (Limit("sends", 1, 2),)})
        takes(quota, 3)
        quota.take(Operation.TELEMETRY, "dev2", NOW + SECOND)
        [account] = quota.describe()
        assert (account["service"], account["limit"], account["requests"], account["over"]) == ("hub1", "sends", 4, 2)
        assert account["devices"] == [{"deviceId": "dev1", "over": 1}, {"deviceId": "dev2", "over": 1}]
        assert account["longestWaitSeconds"] == 1

    def test_each_device_polls_five_times_in_ten_seconds(self) -> None:
        quota = Quota("dps1", dps_limits())
        assert takes(quota, 7, Operation.POLL)[4:] == [0, 2, 2], "a refused poll costs nothing"
        assert quota.take(Operation.POLL, "dev2", NOW) == 0

    def test_thousand_registrations_a_minute(self) -> None:
        quota = Quota("dps1", dps_limits())
        waits = takes(quota, 1001, Operation.REGISTER)
        assert (waits[999], waits[1000]) == (0, pytest.approx(0.06))

    @pytest.mark.parametrize(
        ("tier", "units", "sends", "reads"),
        [(Tier.S1, 1, 100, 100), (Tier.S1, 20, 240, 100), (Tier.S2, 2, 240, 100), (Tier.S3, 2, 12_000, 1000)],
    )
    def test_limits_of_a_hub_grow_with_tier_and_units(self, tier: Tier, units: int, sends: int, reads: int) -> None:
        limits = hub_limits(tier, units)
        assert [limits[each][0].per_second for each in (Operation.TELEMETRY, Operation.TWIN)] == [sends, reads]

    @pytest.mark.parametrize(
        ("tier", "units", "minute"),
        [(Tier.S1, 1, (100, 100, 20)), (Tier.S2, 3, (300, 300, 60)), (Tier.S3, 2, (10_000, 10_000, 2000))],
    )
    def test_service_api_is_limited_by_the_minute(self, tier: Tier, units: int, minute: tuple[int, ...]) -> None:
        quota = Quota("hub1", hub_limits(tier, units))
        operations = (ServiceOperation.REGISTRY, ServiceOperation.CLOUD_TO_DEVICE, ServiceOperation.QUERY)
        for operation, limit in zip(operations, minute, strict=True):
            waits = [quota.take(operation, "", NOW) for _ in range(limit + 1)]
            assert (waits[limit - 1], waits[limit]) == (0, pytest.approx(60 / limit))

    def test_services_and_devices_share_the_limits_of_twins(self) -> None:
        quota = Quota("hub1", hub_limits(Tier.S1, 1))
        reads, updates = (
            [quota.take(each, "dev1", NOW) for each in pair for _ in range(100)]
            for pair in (
                (Operation.TWIN, ServiceOperation.TWIN_READ),
                (Operation.RENEW, ServiceOperation.TWIN_UPDATE),
            )
        )
        assert max(reads) == 0
        assert updates.index(max(updates)) == 100, "50 a second, two seconds' worth at once"
        assert quota.take(Operation.TWIN, "dev1", NOW) > 0

    @pytest.mark.parametrize(("tier", "a_second"), [(Tier.S1, 40), (Tier.S2, 120), (Tier.S3, 6144)])
    def test_methods_are_limited_in_meters_of_four_kilobytes(self, tier: Tier, a_second: int) -> None:
        assert hub_limits(tier, 2)[ServiceOperation.METHOD][0].per_second == 2 * a_second


class TestGateway:
    @pytest.fixture
    def connect(self, house: Any) -> Any:
        """Connect a device under some limits; the first connection counts."""
        chain = house.onboard("dev1")

        def make(limits: Any, *, enforces: bool = True) -> tuple[QuotaGateway, Any]:
            gateway = QuotaGateway(
                house.hub.gateway, HubWire(house.hub.sessions), Quota("hub1", limits), enforces=enforces
            )
            self.request = house.request("dev1", peer_chain=chain)
            session = gateway.connect(self.request, NOW)
            gateway.opened(session, NOW)
            gateway.subscribed(session, [("$iothub/twin/res/#", 1)], NOW)
            return gateway, session

        return make

    def send(self, gateway: QuotaGateway, session: Any, topic: str = "devices/dev1/messages/events/") -> Any:
        return gateway.receive(session, topic, b"1", 1, retain=False, dup=False, now=NOW)

    def test_telemetry_beyond_the_limit_is_acknowledged_late(self, connect: Any) -> None:
        edge = connect(ONE_A_SECOND)
        assert [self.send(*edge) for _ in range(3)] == [[], [], [Withhold(edge[1].key, 1)]]

    def test_telemetry_that_would_wait_too_long_ends_the_connection(self, connect: Any) -> None:
        edge = connect(SLOW)
        self.send(*edge)
        [close] = self.send(*edge)
        assert isinstance(close, Close)
        assert "would wait 20.0 s, over 10" in close.reason

    def test_request_beyond_the_limit_is_answered_429(self, connect: Any) -> None:
        edge = connect(ONE_A_SECOND)
        topics = [self.send(*edge, topic="$iothub/twin/GET/?$rid=1")[0].topic for _ in range(3)]
        assert [topic.split("/")[3] for topic in topics] == ["200", "200", "429"]

    def test_what_a_device_reports_counts_as_an_update_of_its_twin(self, connect: Any) -> None:
        edge = connect(
            {Operation.TWIN: (Limit("reads", 1, 9),), ServiceOperation.TWIN_UPDATE: (Limit("updates", 1, 1),)}
        )
        topics = [self.send(*edge, topic="$iothub/twin/PATCH/properties/reported/?$rid=1")[0].topic for _ in range(2)]
        assert [topic.split("/")[3] for topic in topics] == ["400", "429"], "the body is no JSON object"
        [answer] = self.send(*edge, topic="$iothub/twin/GET/?$rid=1")
        assert answer.topic.split("/")[3] == "200"

    def test_connection_beyond_the_limit_is_answered_that_the_service_is_not_there(self, connect: Any) -> None:
        gateway, _ = connect(ONE_A_SECOND)
        gateway.connect(self.request, NOW)
        refusal = gateway.connect(self.request, NOW)
        assert isinstance(refusal, Refusal)
        assert refusal.return_code is ConnectReturnCode.SERVER_UNAVAILABLE

    def test_report_counts_and_changes_nothing(self, connect: Any) -> None:
        gateway, session = connect(ONE_A_SECOND, enforces=False)
        assert [self.send(gateway, session) for _ in range(50)] == [[]] * 50
        [answer] = self.send(gateway, session, "$iothub/twin/GET/?$rid=1")
        assert isinstance(answer, Publish)
        assert gateway._quota.describe()[0]["over"] == 48

    def test_rest_passes_through(self, connect: Any) -> None:
        gateway, session = connect(ONE_A_SECOND)
        assert gateway.may_subscribe(session, "$iothub/twin/res/#")
        assert gateway.unsubscribed(session, ["$iothub/twin/res/#"], NOW) == []
        assert gateway.acknowledged(session, "", NOW) == []
        assert gateway.tick(NOW) == []
        [close] = self.send(gateway, session, "$iothub/nothing")
        assert isinstance(close, Close)
        assert gateway.disconnected(session, NOW, will=None) == []
