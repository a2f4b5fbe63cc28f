"""Changes what is injected, and tells what was: the faults, their profile, the quota mode."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from emulator.faults.declared import DeclaredFaults
from emulator.faults.edge import Edge
from emulator.faults.fault import Fault, FaultRefused
from emulator.faults.fault_json import format_fault, one_of, parse_fault, whole_number
from emulator.faults.plan import Injected
from emulator.faults.profiles import Profile, profile_faults
from emulator.faults.quota import QuotaMode, Tier

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MAX_FAULTS: Final = 1000
SHOWN: Final = 50
MAX_SEED: Final = 2**63 - 1
MAX_UNITS: Final = 200


@dataclass(slots=True)
class FaultControl:
    """Changes one edge; faults live as long as the process, those of the configuration come back with the next."""

    edge: Edge
    profile: Profile = Profile.OFF
    seed: int = 0
    _faults: dict[str, Fault] = field(default_factory=dict)
    _last_number: int = 0

    def declare(self, declared: DeclaredFaults) -> None:
        """Set what a configuration says."""
        for fault in declared.faults:
            self._faults[self._next_name()] = fault
        self.profile, self.seed = declared.profile, declared.seed
        layers = replace(
            self.edge.layers,
            message_properties=declared.message_properties,
            quota=declared.quota,
            tier=declared.tier,
            units=declared.units,
        )
        if layers != self.edge.layers:
            self.edge.arrange(layers)
        if self._faults or self.profile is not Profile.OFF:
            self._plan_anew()

    def describe(self) -> dict[str, Any]:
        """Tell what is set, and what struck last: what `GET /faults` answers."""
        edge = self.edge
        return {
            "profile": self.profile.value,
            "seed": self.seed,
            "messageProperties": edge.layers.message_properties,
            "faults": [{"name": name, **format_fault(fault), "struck": n} for name, fault, n in edge.plan.faults()],
            "recent": [_shown(each) for each in edge.plan.recent[-SHOWN:]],
            "retries": edge.retries.describe(),
        }

    def change(self, request: object) -> dict[str, Any]:
        """Set a fault, a profile (`{"profile": "storm", "seed": 7}`) or `{"messageProperties": true}`.

        Raises:
            FaultRefused: the request is none of these.
        """
        if isinstance(request, Mapping) and "profile" in request:
            return self._set_profile(request)
        if isinstance(request, Mapping) and "messageProperties" in request:
            return self._set_message_properties(request)
        return self._add(request)

    def remove(self, name: str) -> bool:
        """Unset one fault; False if there is none of this name."""
        self._faults.pop(name, None)
        found = self.edge.plan.remove(name)
        self.edge.follow_plan()
        return found

    def clear(self) -> None:
        """Unset every fault and the profile."""
        self._faults.clear()
        self.profile = Profile.OFF
        self._plan_anew()

    def describe_quota(self) -> dict[str, Any]:
        """Tell the mode, and what went beyond which limit: what `GET /quota` answers."""
        layers = self.edge.layers
        limits = [account for quota in self.edge.quotas() for account in quota.describe()]
        return {"mode": layers.quota.value, "tier": layers.tier.value, "units": layers.units, "limits": limits}

    def change_quota(self, request: object) -> dict[str, Any]:
        """Set the mode, such as `{"mode": "report", "tier": "S1", "units": 1}`; the accounts begin anew.

        Raises:
            FaultRefused: the request is something else.
        """
        members = _members(request, "mode", "tier", "units")
        layers = self.edge.layers
        changed = replace(
            layers,
            quota=_read("mode", one_of(QuotaMode), members.get("mode", layers.quota.value)),
            tier=_read("tier", one_of(Tier), members.get("tier", layers.tier.value)),
            units=_read("units", whole_number(1, MAX_UNITS), members.get("units", layers.units)),
        )
        self.edge.reset_quotas()
        self.edge.arrange(changed)
        return self.describe_quota()

    def _set_profile(self, request: Mapping[Any, Any]) -> dict[str, Any]:
        members = _members(request, "profile", "seed")
        profile = _read("profile", one_of(Profile), members["profile"])
        self.seed = _read("seed", whole_number(0, MAX_SEED), members.get("seed", self.seed))
        self.profile = profile
        self._plan_anew()
        return self.describe()

    def _set_message_properties(self, request: Mapping[Any, Any]) -> dict[str, Any]:
        wanted = _members(request, "messageProperties")["messageProperties"]
        if not isinstance(wanted, bool):
            raise FaultRefused(f"messageProperties must be true or false, not {wanted!r:.60}")
        self.edge.arrange(replace(self.edge.layers, message_properties=wanted))
        return self.describe()

    def _add(self, request: object) -> dict[str, Any]:
        members = dict(request) if isinstance(request, Mapping) else request
        name = members.pop("name", None) if isinstance(members, dict) else None
        if name is not None and not (isinstance(name, str) and NAME.fullmatch(name)):
            raise FaultRefused(f"name must have 1 to 64 letters, digits and ._-, not {name!r:.60}")
        fault = parse_fault(members)
        if len(self._faults) >= MAX_FAULTS:
            raise FaultRefused(f"{MAX_FAULTS} faults are set already")
        name = name or self._next_name()
        self._faults[name] = fault
        self.edge.plan.add(name, fault)
        self.edge.follow_plan()
        return {"name": name, **format_fault(fault)}

    def _next_name(self) -> str:
        while True:
            self._last_number += 1
            name = f"fault-{self._last_number}"
            if name not in self._faults:
                return name

    def _plan_anew(self) -> None:
        self.edge.plan.set({**self._faults, **profile_faults(self.profile, self.seed)})
        self.edge.follow_plan()


def _members(request: object, *known: str) -> Mapping[Any, Any]:
    if not isinstance(request, Mapping) or not set(request) <= set(known):
        raise FaultRefused(f"the body must be an object with {', '.join(known)}")
    return request


def _read(name: str, parse: Any, value: object) -> Any:
    try:
        return parse(value)
    except FaultRefused as error:
        raise FaultRefused(f"{name} {error}") from None


def _shown(injected: Injected) -> dict[str, str]:
    occurrence = injected.occurrence
    return {
        "time": injected.time.isoformat(),
        "fault": injected.name,
        "kind": injected.fault.kind.value,
        "operation": occurrence.operation.value,
        "deviceId": occurrence.device_id,
        "service": occurrence.service,
    }
