from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from emulator.faults.fault import OPERATIONS, Fault, FaultKind, FaultRefused, Occurrence, Operation, Phase
from emulator.faults.fault_json import format_fault, parse_fault
from emulator.faults.plan import MAX_DEVICES, FaultPlan
from emulator.faults.profiles import Profile, profile_faults

NOW = datetime(2026, 11, 23, tzinfo=UTC)
REGISTER = Occurrence(Operation.REGISTER, "dev1", "dps1")


def struck(plan: FaultPlan, occurrences: Sequence[Occurrence]) -> list[str]:
    decisions = [plan.decide(each, NOW) for each in occurrences]
    return [each.name if each is not None else "" for each in decisions]


def fleet(count: int, operation: Operation = Operation.REGISTER) -> list[Occurrence]:
    return [Occurrence(operation, f"dev{number % 50}", "dps1") for number in range(count)]


class TestPlan:
    def test_same_seed_and_occurrences_give_the_same_decisions(self) -> None:
        first, second = (struck(FaultPlan(profile_faults(Profile.STORM, 7)), fleet(2000)) for _ in range(2))
        assert first == second
        assert any(first)

    def test_another_seed_gives_others(self) -> None:
        first, second = (struck(FaultPlan(profile_faults(Profile.STORM, seed)), fleet(2000)) for seed in (7, 8))
        assert first != second

    def test_decisions_on_a_device_do_not_depend_on_the_others(self) -> None:
        alone = [Occurrence(Operation.REGISTER, "dev3")] * 40
        together = [each for one in alone for each in (Occurrence(Operation.REGISTER, "dev4"), one)]
        faults = profile_faults(Profile.STORM, 7)
        assert struck(FaultPlan(faults), together)[1::2] == struck(FaultPlan(faults), alone)

    def test_nth_counts_the_occurrences_of_each_device(self) -> None:
        plan = FaultPlan({"third": Fault(FaultKind.CUT, (Operation.REGISTER,), nth=3)})
        other = Occurrence(Operation.REGISTER, "dev2")
        assert struck(plan, [REGISTER, other, REGISTER, REGISTER, REGISTER, other, other]) == [
            *("", "", "", "third", "", "", "third")
        ]

    def test_limit_counts_over_all_devices(self) -> None:
        plan = FaultPlan({"twice": Fault(FaultKind.CUT, limit=2)})
        assert struck(plan, fleet(4)) == ["twice", "twice", "", ""]

    @pytest.mark.parametrize(
        ("scope", "strikes"),
        [
            ({"device": "dev*"}, True),
            ({"device": "Dev*"}, False),
            ({"service": "dps1"}, True),
            ({"service": "hub1"}, False),
            ({"enrollment": "line-?"}, True),
            ({"enrollment": "other"}, False),
        ],
    )
    def test_scope_is_of_globs(self, scope: dict[str, str], strikes: bool) -> None:
        occurrence = Occurrence(Operation.REGISTER, "dev1", "dps1", "line-1")
        plan = FaultPlan({"one": Fault(FaultKind.CUT, (Operation.REGISTER,), **scope)})  # type: ignore[arg-type]
        assert (plan.decide(occurrence, NOW) is not None) is strikes

    def test_first_fault_that_strikes_is_the_one_and_all_count(self) -> None:
        second = Fault(FaultKind.DELAYED, (Operation.REGISTER,), nth=2)
        plan = FaultPlan({"a": Fault(FaultKind.CUT, limit=1), "b": second})
        assert struck(plan, [REGISTER, REGISTER]) == ["a", "b"]
        assert [times for _, _, times in plan.faults()] == [1, 1]

    def test_added_fault_strikes_and_removed_one_does_not(self) -> None:
        plan = FaultPlan({})
        assert not plan.concerns(Operation.REGISTER)
        plan.add("one", Fault(FaultKind.CUT))
        assert plan.concerns(Operation.REGISTER)
        assert struck(plan, [REGISTER]) == ["one"]
        assert plan.remove("one")
        assert not plan.remove("one")
        assert struck(plan, [REGISTER]) == [""]
        assert [each.name for each in plan.recent] == ["one"]

    def test_names_that_clients_choose_do_not_pile_up(self) -> None:
        plan = FaultPlan({"one": Fault(FaultKind.CUT, (Operation.CONNECT,), nth=2)})
        for number in range(MAX_DEVICES + 10):
            plan.decide(Occurrence(Operation.CONNECT, str(number)), NOW)
        [planned] = plan._planned.values()
        assert len(planned.counts) == MAX_DEVICES


class TestProfiles:
    def test_off_has_no_fault(self) -> None:
        assert profile_faults(Profile.OFF, 0) == {}

    @pytest.mark.parametrize(("profile", "share"), [(Profile.MILD, 0.05), (Profile.STORM, 0.2)])
    @pytest.mark.parametrize("operation", [Operation.CONNECT, Operation.REGISTER, Operation.TELEMETRY])
    def test_each_operation_meets_the_share_of_its_profile(
        self, profile: Profile, share: float, operation: Operation
    ) -> None:
        names = struck(FaultPlan(profile_faults(profile, 1)), fleet(10_000, operation))
        assert sum(map(bool, names)) / len(names) == pytest.approx(share, rel=0.1)

    def test_storm_has_every_kind(self) -> None:
        assert {fault.kind for fault in profile_faults(Profile.STORM, 0).values()} == set(FaultKind)


class TestFault:
    @pytest.mark.parametrize("kind", list(FaultKind))
    def test_kind_alone_is_for_all_it_can_happen_to(self, kind: FaultKind) -> None:
        fault = parse_fault({"kind": kind.value})
        assert fault.operations == OPERATIONS[kind]
        assert parse_fault(format_fault(fault)) == fault

    def test_all_members_come_back(self) -> None:
        document = {
            "kind": "cut",
            "operation": ["register", "poll"],
            "phase": "after",
            "device": "sim-*",
            "service": "dps1",
            "enrollment": "line-1",
            "probability": 0.25,
            "seed": 9,
            "limit": 3,
            "seconds": 1.5,
            "retryAfterSeconds": 7,
            "status": 503,
        }
        assert format_fault(parse_fault(document)) == document

    def test_enrollment_narrows_the_operations_to_those_that_know_it(self) -> None:
        assert parse_fault({"kind": "cut", "enrollment": "x"}).operations == (Operation.REGISTER, Operation.POLL)
        assert parse_fault({"kind": "expired", "enrollment": "x"}).operations == (Operation.ISSUE,)

    @pytest.mark.parametrize(
        ("document", "message"),
        [
            ([], "a fault is an object with at least a kind, not []"),
            ({}, "kind is needed: one of throttled"),
            ({"kind": "trottled"}, "kind must be one of throttled, "),
            ({"kind": "cut", "phas": "before"}, "did you mean 'phase'?"),
            ({"kind": "cut", "operation": "issue"}, "cut cannot happen to issue, only to connect"),
            ({"kind": "cut", "operation": []}, "operation must be one of handshake"),
            (
                {"kind": "throttled", "phase": "after"},
                "throttled has no phase: only cut, server-error, silence have one",
            ),
            ({"kind": "cut", "nth": 0}, "nth must be a whole number from 1 to 1000000, not 0"),
            ({"kind": "cut", "nth": True}, "nth must be a whole number"),
            ({"kind": "cut", "nth": 1, "probability": 0.5}, "either nth or probability, not both"),
            ({"kind": "cut", "probability": 1.1}, "probability must be a number from 0 to 1, not 1.1"),
            ({"kind": "cut", "probability": float("nan")}, "probability must be a number from 0 to 1, not nan"),
            ({"kind": "cut", "device": ""}, "device must be a name or a glob of 1 to 256 characters, not ''"),
            ({"kind": "server-error", "status": 429}, "status must be one of 500, 503, not 429"),
            ({"kind": "tls-alert", "enrollment": "x"}, "an enrollment is only known for issue, poll, register"),
            ({"kind": "cut", "operation": "connect", "enrollment": "x"}, "an enrollment is only known for"),
            ({"kind": "tls-alert", "device": "x"}, "in the TLS handshake neither device nor service is known"),
        ],
    )
    def test_fault_that_cannot_be_is_told(self, document: object, message: str) -> None:
        with pytest.raises(FaultRefused) as refused:
            parse_fault(document)
        assert message in str(refused.value)

    def test_phase_is_before_unless_told(self) -> None:
        assert Fault(FaultKind.CUT).phase is Phase.BEFORE
