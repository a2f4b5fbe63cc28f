"""The one clock of a process: what `now` is for issuing, validity, expiry and every deadline."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9900, 1, 1, tzinfo=UTC)


def system_now() -> datetime:
    """Return the machine's time in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class ClockState:
    """How a clock stands: how far ahead of the machine's it runs, and where it stands still if it does."""

    offset: timedelta = timedelta()
    frozen_at: datetime | None = None


class Clock:
    """The machine's time plus an offset, or a moment at which it stands still.

    Moments are aware, in UTC, with microseconds, from 1970 to 9900 (what a certificate can hold with a root's
    ten years on top).
    """

    def __init__(self, source: Callable[[], datetime] = system_now) -> None:
        self._source = source
        self._offset = timedelta()
        self._frozen_at: datetime | None = None

    @property
    def is_frozen(self) -> bool:
        """Tell whether time stands still."""
        return self._frozen_at is not None

    @property
    def offset(self) -> timedelta:
        """How far this clock is ahead of the machine's."""
        return self._offset if self._frozen_at is None else self._frozen_at - self._source()

    @property
    def state(self) -> ClockState:
        """How this clock stands, for `restore`."""
        return ClockState(self._offset, self._frozen_at)

    def restore(self, state: ClockState) -> None:
        """Stand as a clock stood, maybe in another process: what ran runs on, what stood still stands where it did."""
        self._offset, self._frozen_at = state.offset, state.frozen_at

    def now(self) -> datetime:
        """Return the present moment."""
        return self._frozen_at or self._source() + self._offset

    def set(self, moment: datetime) -> None:
        """Move to a moment; a frozen clock stays frozen there.

        Raises:
            ValueError: the moment has no time zone or lies outside 1970 to 9900.
        """
        if moment.tzinfo is None:
            raise ValueError(f"{moment.isoformat()} has no time zone: write it as {moment.isoformat()}Z for UTC")
        if not EARLIEST <= moment <= LATEST:
            raise ValueError(f"{moment.isoformat()} is not between {EARLIEST.year} and {LATEST.year}")
        moment = moment.astimezone(UTC)
        self._offset = moment - self._source()
        if self._frozen_at is not None:
            self._frozen_at = moment

    def advance(self, duration: timedelta) -> None:
        """Move forward by a duration; use `set` to go back.

        Raises:
            ValueError: the duration is negative or leads beyond 9900.
        """
        now = self.now()
        if duration < timedelta():
            raise ValueError(f"a clock cannot advance by {duration}: set the moment to go back")
        if duration > LATEST - now:
            raise ValueError(f"{duration} from {now.isoformat()} leads beyond {LATEST.year}")
        self._offset += duration
        if self._frozen_at is not None:
            self._frozen_at += duration

    def freeze(self) -> None:
        """Stand still at the present moment."""
        self._frozen_at = self.now()

    def resume(self) -> None:
        """Run on from where the clock stands; nothing happens when it runs."""
        if self._frozen_at is not None:
            self._offset = self._frozen_at - self._source()
            self._frozen_at = None

    def reset(self) -> None:
        """Return to the machine's time, running."""
        self._offset = timedelta()
        self._frozen_at = None
