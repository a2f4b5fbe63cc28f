"""Who is told what the front door decided about connections, for an audit trail or metrics."""

from datetime import datetime
from typing import Final, Protocol

from broker.gateway import ConnectRequest, Refusal, Session


class ConnectionObserver(Protocol):
    """Takes note; nothing it does changes the outcome. Called in the loop, so it must be quick."""

    def refused(self, request: ConnectRequest, refusal: Refusal, now: datetime) -> None:
        """A CONNECT was refused."""
        ...

    def expired(self, session: Session, remote: str, now: datetime) -> None:
        """A connection is ended because its credential has expired; `remote` is `address:port`."""
        ...


class Nobody:
    """Takes no note of anything."""

    def refused(self, request: ConnectRequest, refusal: Refusal, now: datetime) -> None:
        """Ignore it."""

    def expired(self, session: Session, remote: str, now: datetime) -> None:
        """Ignore it."""


NOBODY: Final[ConnectionObserver] = Nobody()
