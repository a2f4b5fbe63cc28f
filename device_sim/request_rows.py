"""A recorder that also hands every event on, as what load tools count: a request with a name, a latency, a failure."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from device_sim.phases import Phase
from device_sim.recorder import Recorder, name_of

MILLISECONDS = 1000


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One event: `kind` is `phase`, `total`, `message` or `device`; `failure` is the reason if it failed.

    Totals count from the intended start. A failure has no latency, nor has a message that nobody answers.
    """

    kind: str
    name: str
    milliseconds: float | None = None
    failure: str = ""


class RowRecorder(Recorder):
    """Counts as any recorder, in the engine's thread; another thread takes the rows, each once."""

    def __init__(self) -> None:
        super().__init__()
        # Appending and taking are atomic.
        self._rows: deque[RequestRow] = deque()

    def phase(self, phase: Phase, seconds: float) -> None:
        """Take note that a device went through a step."""
        super().phase(phase, seconds)
        self._rows.append(RequestRow("phase", name_of(phase), seconds * MILLISECONDS))

    def total(self, name: str, seconds_since_intended: float) -> None:
        """Take note that a device reached something."""
        super().total(name, seconds_since_intended)
        self._rows.append(RequestRow("total", name, seconds_since_intended * MILLISECONDS))

    def message(self, kind: str, seconds: float | None = None) -> None:
        """Take note of a message."""
        super().message(kind, seconds)
        self._rows.append(RequestRow("message", kind, None if seconds is None else seconds * MILLISECONDS))

    def failed(self, reason: str, phase: Phase | None = None) -> None:
        """Take note of a failure: of the step in which it was, else of the device."""
        super().failed(reason, phase)
        kind, name = ("phase", name_of(phase)) if phase is not None else ("device", "connection")
        self._rows.append(RequestRow(kind, name, failure=reason))

    def take(self) -> Iterator[RequestRow]:
        """Give the rows that came since the last call, the oldest first."""
        while self._rows:
            yield self._rows.popleft()
