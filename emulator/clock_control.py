"""Changes the emulator's clock: kept beyond a restart, noted in the audit trail, and followed by everything at once."""

import json
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from adr.audit import AuditKind, AuditTrail
from adr.store import Store
from certs.keyfile import write_atomic
from emulator.clock import Clock, ClockState
from emulator.duration import format_duration, parse_duration

logger = logging.getLogger("emulator")

TABLE: Final = "emulator.clock"
KEY: Final = "clock"


class ClockChangeRefused(ValueError):
    """The clock cannot be changed like that; the message says what can be asked for."""


def format_clock_state(state: ClockState) -> str:
    """Write a state as JSON text; the offset is in whole microseconds."""
    frozen_at = state.frozen_at.isoformat() if state.frozen_at is not None else None
    return json.dumps({"offsetMicroseconds": state.offset // timedelta(microseconds=1), "frozenAt": frozen_at})


def parse_clock_state(text: str) -> ClockState:
    """Read what `format_clock_state` wrote."""
    fields = json.loads(text)
    frozen_at = datetime.fromisoformat(fields["frozenAt"]) if fields["frozenAt"] else None
    return ClockState(timedelta(microseconds=fields["offsetMicroseconds"]), frozen_at)


def read_clock(store: Store) -> Clock:
    """Make the clock that a store remembers, the machine's time if it remembers none.

    Raises:
        StoreError: the store cannot be read.
    """
    clock = Clock()
    record = store.get(TABLE, KEY)
    if record is not None:
        clock.restore(parse_clock_state(record.value))
    return clock


def read_clock_file(path: Path) -> Clock:
    """Make the clock that a state directory's file tells of, the machine's time if there is none.

    For commands that run beside the process that has the store.

    Raises:
        OSError: the file cannot be read.
    """
    clock = Clock()
    if path.exists():
        clock.restore(parse_clock_state(path.read_text()))
    return clock


def describe_clock(clock: Clock) -> dict[str, Any]:
    """Tell how a clock stands: what `GET /clock` answers."""
    now, offset = clock.now(), clock.offset
    return {
        "now": now.isoformat().replace("+00:00", "Z"),
        "machine": (now - offset).isoformat().replace("+00:00", "Z"),
        "offsetSeconds": offset.total_seconds(),
        "offset": format_duration(offset),
        "frozen": clock.is_frozen,
    }


def parse_moment(text: str) -> datetime:
    """Read an ISO 8601 date, or time with a zone, such as 2027-01-01 or 2027-01-01T00:00:00Z; a date is UTC midnight.

    Raises:
        ClockChangeRefused: the text is something else, or has no time zone.
    """
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):  # near the years 1 and 9999 a moment may not exist in UTC
        raise ClockChangeRefused(f"{text[:40]!r} is not a moment: write it like 2027-01-01T00:00:00Z") from None
    if ":" in text or "T" in text:
        raise ClockChangeRefused(f"{text[:40]!r} has no time zone: write it as {text[:40]}Z for UTC")
    return moment.replace(tzinfo=UTC)


class ClockControl:
    """Changes one clock.

    Args:
        clock: the clock.
        store: where its state is kept; committed here.
        audit: where changes are noted.
        follow: makes everything follow after a change, called with the new time.
        file: where the state is also written for others to read, None for nowhere.
    """

    def __init__(
        self,
        clock: Clock,
        store: Store,
        audit: AuditTrail,
        *,
        follow: Callable[[datetime], None] = lambda _: None,
        file: Path | None = None,
    ) -> None:
        self._clock = clock
        self._store = store
        self._audit = audit
        self._follow = follow
        self._file = file

    def describe(self) -> dict[str, Any]:
        """Tell how the clock stands."""
        return describe_clock(self._clock)

    def change(self, request: object) -> dict[str, Any]:
        """Carry out one change, such as `{"advance": "30d"}`, `{"set": "2027-01-01T00:00:00Z"}` or `{"freeze": true}`.

        `resume` and `reset` are asked for like `freeze`. The change is stored before anything follows it; one that
        cannot be stored is taken back.

        Raises:
            ClockChangeRefused: the request is none of these, or leads out of what a clock can show.
            StoreError: it cannot be stored.
        """
        name, value = _parse_request(request)
        before = self._clock.state
        try:
            done = CHANGES[name](self._clock, value)
        except ValueError as error:
            raise ClockChangeRefused(str(error)) from error
        now = self._clock.now()
        try:
            self._store.put(TABLE, KEY, format_clock_state(self._clock.state))
            self._audit.record(AuditKind.CLOCK, now, reason=done)
            self._store.commit()
        except BaseException:
            self._clock.restore(before)
            raise
        self.export()
        logger.info("clock: %s", done)
        self._follow(now)
        return self.describe()

    def export(self) -> None:
        """Write the clock's state to where commands beside this process read it."""
        if self._file is not None:
            write_atomic(self._file, f"{format_clock_state(self._clock.state)}\n".encode())


def _parse_request(request: object) -> tuple[str, object]:
    if isinstance(request, dict) and len(request) == 1:
        ((name, value),) = request.items()
        if name in CHANGES:
            return name, value
    raise ClockChangeRefused(f"a change of the clock is a JSON object with one of {', '.join(CHANGES)}")


def _advance(clock: Clock, value: object) -> str:
    duration = parse_duration(_text("advance", value))
    clock.advance(duration)
    return f"advanced by {format_duration(duration)} to {_shown(clock)}"


def _set(clock: Clock, value: object) -> str:
    clock.set(parse_moment(_text("set", value)))
    return f"set to {_shown(clock)}"


def _freeze(clock: Clock, value: object) -> str:
    _require_true("freeze", value)
    clock.freeze()
    return f"frozen at {_shown(clock)}"


def _resume(clock: Clock, value: object) -> str:
    _require_true("resume", value)
    clock.resume()
    return f"runs on from {_shown(clock)}"


def _reset(clock: Clock, value: object) -> str:
    _require_true("reset", value)
    clock.reset()
    return f"reset to the machine's time, {_shown(clock)}"


CHANGES: Mapping[str, Callable[[Clock, object], str]] = MappingProxyType(
    {"advance": _advance, "set": _set, "freeze": _freeze, "resume": _resume, "reset": _reset}
)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ClockChangeRefused(f"{name} takes a text")
    return value


def _require_true(name: str, value: object) -> None:
    if value is not True:
        raise ClockChangeRefused(f"{name} takes the value true")


def _shown(clock: Clock) -> str:
    return f"{clock.now():%Y-%m-%dT%H:%M:%SZ}"
