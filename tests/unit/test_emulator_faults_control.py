from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from adr.audit import REFUSALS
from adr.issuance import NOBODY, Requester
from broker.gateway import AnyGateway
from broker.router import Router
from certs.keyfile import MemoryKeyStore
from emulator.bootstrap import Resources, bootstrap
from emulator.config import default_config
from emulator.faults.control import MAX_FAULTS, FaultControl
from emulator.faults.declared import DeclaredFaults
from emulator.faults.edge import Edge
from emulator.faults.fault import Fault, FaultKind, FaultRefused, Operation
from emulator.faults.gateway import FaultyGateway
from emulator.faults.issuing import FaultyRegistry
from emulator.faults.message_properties import FaultyMessages
from emulator.faults.profiles import Profile
from emulator.faults.quota import QuotaMode, ServiceOperation
from emulator.faults.quota_gateway import QuotaGateway
from emulator.store import SqliteStore

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Outbox:
    touched = 0

    def touch(self) -> None:
        self.touched += 1


@dataclass
class Front:
    """What the edge needs of broker and listener."""

    router: Router
    outbox: Outbox = field(default_factory=Outbox)
    context_of_next: Any = None

    def substitute(self, replacements: Mapping[AnyGateway, AnyGateway]) -> None:
        self.router.substitute(replacements)

    def shown(self) -> list[AnyGateway]:
        return self.router.gateways()


@pytest.fixture
def resources() -> Iterator[Resources]:
    with SqliteStore(":memory:") as store:
        yield bootstrap(default_config(), store, MemoryKeyStore(), None, NOW)


@pytest.fixture
def own(resources: Resources) -> list[AnyGateway]:
    return [resources.dps[0].gateway, resources.hubs[0].gateway]


@pytest.fixture
def front(resources: Resources, own: list[AnyGateway]) -> Front:
    return Front(Router({resources.dps[0].settings.id_scope: own[0]}, {"localhost": own[1]}))


@pytest.fixture
def control(resources: Resources, front: Front) -> FaultControl:
    return FaultControl(Edge(resources, front.router, front, front, lambda: NOW))  # type: ignore[arg-type]


def kinds(front: Front) -> list[type]:
    return [type(each) for each in front.shown()]


def test_nothing_is_wrapped_while_nothing_is_set(
    control: FaultControl, front: Front, own: list[AnyGateway], resources: Resources
) -> None:
    control.declare(DeclaredFaults(message_properties=False))
    assert front.shown() == own
    assert front.context_of_next is None
    assert isinstance(resources.adr, FaultyRegistry)
    assert resources.adr.tampering is None


def test_hubs_obey_message_properties_unless_told_not_to(control: FaultControl, front: Front) -> None:
    """The end-to-end tests of Microsoft's SDKs set up nothing for it."""
    control.declare(DeclaredFaults())
    assert FaultyMessages in kinds(front)
    control.change({"messageProperties": False})
    assert FaultyMessages not in kinds(front)


def test_fault_wraps_and_clearing_unwraps(control: FaultControl, front: Front, own: list[AnyGateway]) -> None:
    assert control.change({"kind": "cut", "device": "sim-*"})["name"] == "fault-1"
    assert kinds(front) == [FaultyGateway, FaultyGateway]
    control.clear()
    assert front.shown() == own
    assert control.describe()["faults"] == []


def test_removing_the_last_fault_unwraps(control: FaultControl, front: Front, own: list[AnyGateway]) -> None:
    control.change({"kind": "cut", "name": "mine"})
    assert control.remove("mine")
    assert front.shown() == own
    assert not control.remove("mine")


def test_second_fault_leaves_what_the_first_has_begun(control: FaultControl, front: Front) -> None:
    control.change({"kind": "cut", "nth": 2, "operation": "connect"})
    before = front.shown()
    control.change({"kind": "silence", "operation": "telemetry"})
    assert front.shown() == before


def test_certificate_fault_wraps_no_gateway(
    control: FaultControl, front: Front, own: list[AnyGateway], resources: Resources
) -> None:
    control.change({"kind": "wrong-key", "device": "dev1", "limit": 1})
    assert front.shown() == own
    assert isinstance(resources.adr, FaultyRegistry)
    assert resources.adr.tampering is not None
    assert resources.adr.tampering("dev2", NOBODY, NOW) is None
    assert resources.adr.tampering("dev1", NOBODY, NOW) is FaultKind.WRONG_KEY
    assert resources.adr.tampering("dev1", NOBODY, NOW) is None
    control.clear()
    assert resources.adr.tampering is None


@pytest.mark.parametrize(
    ("scope", "struck"),
    [
        ({"service": "dps1"}, ["registered"]),
        ({"service": "hub?"}, ["renewed"]),
        ({"enrollment": "line-*"}, ["registered"]),
        ({"enrollment": "other"}, []),
        ({"service": "dps1", "enrollment": "line-1"}, ["registered"]),
        ({"service": "hub2"}, []),
    ],
)
def test_certificate_fault_is_for_those_whom_a_service_or_an_enrollment_has_let_in(
    control: FaultControl, front: Front, resources: Resources, scope: dict[str, str], struck: list[str]
) -> None:
    control.change({"kind": "wrong-cn", **scope})
    assert isinstance(resources.adr, FaultyRegistry)
    assert resources.adr.tampering is not None
    requesters = {"registered": Requester("dps1", "line-1"), "renewed": Requester("hub1")}
    tamper = resources.adr.tampering
    assert [name for name, each in requesters.items() if tamper("dev1", each, NOW) is FaultKind.WRONG_CN] == struck
    events = [event for _, event in control.edge._adr.audit.read(REFUSALS)]
    assert [event.service for event in events] == [requesters[name].service for name in struck]


def test_tls_alert_is_for_the_listener(control: FaultControl, front: Front, own: list[AnyGateway]) -> None:
    control.change({"kind": "tls-alert", "nth": 1})
    assert front.shown() == own
    refusing = front.context_of_next()
    assert refusing is not None
    assert front.context_of_next() is None
    control.clear()
    assert front.context_of_next is None


def test_injected_fault_is_in_the_audit_trail_and_in_the_list(control: FaultControl, front: Front) -> None:
    control.change({"kind": "tls-alert", "name": "alert"})
    front.context_of_next()
    [(_, event)] = control.edge._adr.audit.read(REFUSALS)
    assert (event.kind, event.reason) == ("fault", "tls-alert at handshake by fault alert")
    [recent] = control.describe()["recent"]
    assert (recent["fault"], recent["kind"], recent["operation"]) == ("alert", "tls-alert", "handshake")
    assert front.outbox.touched == 1


def test_service_api_is_throttled_where_the_quota_is_enforced_and_counted_where_it_is_reported(
    control: FaultControl,
) -> None:
    def requests() -> float:
        return max(control.edge.throttle("hub1", ServiceOperation.QUERY, "", NOW) for _ in range(30))

    assert requests() == 0
    control.change_quota({"mode": "report"})
    assert requests() == 0
    [queries] = [each for each in control.describe_quota()["limits"] if each["limit"] == "queries"]
    assert (queries["service"], queries["requests"], queries["over"], queries["devices"]) == ("hub1", 30, 10, [])
    control.change_quota({"mode": "enforce"})
    assert requests() == pytest.approx(3)


def test_fault_that_a_message_asks_for_is_in_the_audit_trail(control: FaultControl, front: Front) -> None:
    control.edge.ordered("hub1", "dev1", "KillTcp in 0 s for 0 s", NOW)
    [(_, event)] = control.edge._adr.audit.read(REFUSALS)
    assert (event.kind, event.service, event.device_id) == ("fault", "hub1", "dev1")
    assert event.reason == "KillTcp in 0 s for 0 s, asked for by a message property"
    assert front.outbox.touched == 1


def test_profile_takes_the_place_of_another_and_leaves_single_faults(control: FaultControl) -> None:
    control.change({"kind": "cut", "name": "mine"})
    storm = control.change({"profile": "storm", "seed": 7})
    assert (storm["profile"], storm["seed"]) == ("storm", 7)
    off = control.change({"profile": "off"})
    assert ([each["name"] for each in off["faults"]], off["seed"]) == (["mine"], 7)


def test_message_properties_concern_hubs_alone(control: FaultControl, front: Front, own: list[AnyGateway]) -> None:
    assert control.change({"messageProperties": True})["messageProperties"] is True
    assert kinds(front) == [type(own[0]), FaultyMessages]
    control.change({"messageProperties": False})
    assert front.shown() == own


def test_quota_counts_for_every_service_and_begins_anew(
    control: FaultControl, front: Front, own: list[AnyGateway]
) -> None:
    found = control.change_quota({"mode": "report", "tier": "S2", "units": 3})
    assert kinds(front) == [QuotaGateway, QuotaGateway]
    assert {each["service"] for each in found["limits"]} == {"dps1", "hub1"}
    control.edge.quotas()[0].take(Operation.REGISTER, "dev1", NOW)
    assert control.describe_quota()["limits"][0]["requests"] == 1
    assert control.change_quota({"mode": "enforce"})["limits"][0]["requests"] == 0
    off = control.change_quota({"mode": "off"})
    assert (off["mode"], off["tier"], off["units"], off["limits"]) == ("off", "S2", 3, [])
    assert front.shown() == own


def test_configuration_sets_everything_at_the_start(control: FaultControl, front: Front) -> None:
    control.declare(
        DeclaredFaults(Profile.MILD, 3, (Fault(FaultKind.CUT),), message_properties=True, quota=QuotaMode.REPORT)
    )
    found = control.describe()
    assert (found["profile"], found["seed"], found["messageProperties"]) == ("mild", 3, True)
    assert found["faults"][0]["name"] == "fault-1"
    assert control.describe_quota()["mode"] == "report"
    assert kinds(front) == [FaultyGateway, FaultyGateway]


def test_name_that_is_taken_is_not_given_again(control: FaultControl) -> None:
    control.change({"kind": "cut", "name": "fault-1"})
    assert control.change({"kind": "cut"})["name"] == "fault-2"


def test_faults_are_limited(control: FaultControl) -> None:
    for _ in range(MAX_FAULTS):
        control._faults[control._next_name()] = Fault(FaultKind.CUT)
    with pytest.raises(FaultRefused, match="1000 faults are set already"):
        control.change({"kind": "cut"})
