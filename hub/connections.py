"""Who is connected to a hub right now: the one thing about devices that is memory, as connections are."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from broker.gateway import Action, Close
from hub.session import HubSession


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether a device or module is connected, and since when that is so."""

    is_connected: bool
    since: datetime


class Connections:
    """The open connections of one hub by session key, and the last sight of those that ended."""

    def __init__(self) -> None:
        self._open: dict[str, HubSession] = {}
        self._presence: dict[str, Presence] = {}
        self._modules: dict[str, set[str]] = {}
        self._admitted: dict[str, HubSession] = {}
        self._condemned: list[tuple[HubSession, str]] = []

    def admitted(self, session: HubSession) -> None:
        """Note who has been let in but is not open yet: its credential may be revoked in between."""
        self._admitted[session.key] = session
        if session.module_id is not None:
            self._modules.setdefault(session.device_id, set()).add(session.key)

    def opened(self, session: HubSession, now: datetime) -> None:
        """Note a connection; it takes the place of an older one with its key."""
        self._admitted.pop(session.key, None)
        self._open[session.key] = session
        self._presence[session.key] = Presence(is_connected=True, since=now)
        if session.module_id is not None:
            self._modules.setdefault(session.device_id, set()).add(session.key)

    def closed(self, session: HubSession, now: datetime) -> None:
        """Note the end of a connection, unless a newer one has its key."""
        if self._open.get(session.key) is not session:
            return
        del self._open[session.key]
        self._presence[session.key] = Presence(is_connected=False, since=now)

    def get(self, session_key: str) -> HubSession | None:
        """The open connection with this key."""
        return self._open.get(session_key)

    def presence(self, session_key: str) -> Presence | None:
        """Tell the connection state; None for one not seen since the process started."""
        return self._presence.get(session_key)

    def count(self) -> int:
        """How many devices and modules are connected."""
        return len(self._open)

    def condemn(self, device_key: str, device_id: str, reason: str) -> None:
        """Have the connections of a device and its modules closed: they are in the next `condemned`."""
        for key in (device_key, *self._modules.get(device_id, ())):
            self.condemn_one(key, reason)

    def condemn_one(self, session_key: str, reason: str) -> None:
        """Have one connection closed."""
        for sessions in (self._open, self._admitted):
            session = sessions.get(session_key)
            if session is not None:
                self._condemned.append((session, reason))

    def condemn_certified(self, device_key: str, device_id: str, issuers: Collection[str], reason: str) -> None:
        """Have those connections of a device and its modules closed that rest on a certificate of these issuers."""
        for key in (device_key, *self._modules.get(device_id, ())):
            for sessions in (self._open, self._admitted):
                session = sessions.get(key)
                if session is not None and session.issuer in issuers:
                    self._condemned.append((session, reason))

    def condemn_issued_by(self, issuers: Collection[str], reason: str) -> None:
        """Have every connection closed that rests on a certificate of one of these issuing CAs, by thumbprint."""
        for session in (*self._open.values(), *self._admitted.values()):
            if session.issuer in issuers:
                self._condemned.append((session, reason))

    def forget(self, device_key: str, device_id: str) -> None:
        """Forget when a deleted device and its modules were last seen."""
        for key in (device_key, *self._modules.pop(device_id, ())):
            self._presence.pop(key, None)

    def condemned(self) -> list[Action]:
        """Return what closes the connections condemned since the last call, once; those to be opened yet later.

        A connection made since then under the same key stays.
        """
        condemned, self._condemned = self._condemned, []
        for session, reason in condemned:
            if self._admitted.get(session.key) is session:
                self._condemned.append((session, reason))
        return [Close(session.key, reason) for session, reason in condemned if self._open.get(session.key) is session]
