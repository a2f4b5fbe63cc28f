"""Registrations under random use, against a small model of what each device must see."""

import base64
import json
from datetime import datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dps.enrollment import ProvisioningStatus
from dps.registration import RegistrationStatus
from emulator.store import SqliteStore
from tests.doubles.dps_house import NOW, Answer, Device, DpsHouse, csr_for, group_token

DEVICES = ("sensor-001", "sensor-002")
BODIES = {name: json.dumps({"csr": base64.b64encode(csr_for(name)).decode()}).encode() for name in DEVICES}
DELAY = timedelta(seconds=5)


class Registrations(RuleBasedStateMachine):
    """Two devices of one group register, poll, wait and reconnect while the group is switched on and off.

    The model: for each device the operations it was given, and which of them is being worked on since when.
    """

    def __init__(self) -> None:
        super().__init__()
        self.store = SqliteStore(":memory:")
        self.house = DpsHouse(self.store, assigning_delay=DELAY, operation_lifetime=timedelta(hours=1))
        self.house.add_key_group(credential_policy_name="default")
        self.now = NOW
        self.operations: dict[str, list[str]] = {name: [] for name in DEVICES}
        self.begun: dict[str, tuple[str, bytes]] = {}
        self.due_at: dict[str, datetime] = {}
        self.final: dict[str, dict[str, object]] = {}

    def teardown(self) -> None:
        self.store.close()

    def device(self, name: str) -> Device:
        return self.house.connect(name, password=group_token(name), now=self.now)

    def group_is_enabled(self) -> bool:
        return self.house.service.enrollments.groups.get("keys").enabled

    @rule(name=st.sampled_from(DEVICES), with_csr=st.booleans())
    def register(self, name: str, with_csr: bool) -> None:
        body = BODIES[name] if with_csr else b""
        answer = self.device(name).register(body)
        running = self.begun.get(name)
        if running and self.due_at[running[0]] <= self.now:
            running = None
        if not self.group_is_enabled():
            assert (answer.status, answer.body["status"]) == (200, "disabled")
            self.begun.pop(name, None)
        elif running is None:
            self.begin(name, answer, body)
        elif running[1] == body:
            assert (answer.status, answer.body["operationId"]) == (202, running[0])
        else:
            assert answer.status == 409

    def begin(self, name: str, answer: Answer, body: bytes) -> None:
        assert answer.status == 202
        operation_id = answer.body["operationId"]
        assert operation_id not in self.due_at
        self.operations[name].append(operation_id)
        self.begun[name] = operation_id, body
        self.due_at[operation_id] = self.now + DELAY

    @precondition(lambda self: any(self.operations.values()))
    @rule(data=st.data())
    def poll(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([name for name in DEVICES if self.operations[name]]))
        operation_id = data.draw(st.sampled_from(self.operations[name]))
        answer = self.device(name).poll(operation_id)
        if operation_id in self.final:
            assert answer.body == self.final[operation_id]
        elif self.due_at[operation_id] > self.now:
            assert (answer.status, answer.body["status"]) == (202, "assigning")
        else:
            assert answer.status == 200
            assert answer.body["status"] in ("assigned", "disabled")
            self.final[operation_id] = answer.body

    @precondition(lambda self: any(self.operations.values()))
    @rule(data=st.data())
    def spy(self, data: st.DataObject) -> None:
        victim = data.draw(st.sampled_from([name for name in DEVICES if self.operations[name]]))
        (spy,) = set(DEVICES) - {victim}
        assert self.device(spy).poll(data.draw(st.sampled_from(self.operations[victim]))).status == 404

    @rule(seconds=st.integers(1, 8))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.house.tick(self.now)

    @rule()
    def restart(self) -> None:
        self.house.restarted()

    @rule(status=st.sampled_from(ProvisioningStatus))
    def switch(self, status: ProvisioningStatus) -> None:
        self.house.change_group("keys", provisioning_status=status)

    @invariant()
    def assigned_devices_have_one_identity(self) -> None:
        for name in DEVICES:
            registration = self.house.service.registrations.find(name)
            homes = [host for host, hub in self.house.hubs.items() if hub.registry.get(name) is not None]
            assert len(homes) <= 1
            if registration is not None and registration.status is RegistrationStatus.ASSIGNED:
                assert homes == [registration.assigned_hub]


TestRegistrations = Registrations.TestCase
TestRegistrations.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
