"""Where the emulator listens: what was asked for, and what was got."""

import errno
import json
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

from certs.keyfile import write_atomic


@dataclass(frozen=True, slots=True)
class Listeners:
    """What to listen on; port 0 lets the system choose.

    Attributes:
        addresses: where MQTT and HTTPS listen; loopback unless the user says otherwise.
        mqtt_port: MQTT over TLS; device SDKs know 8883 only.
        https_port: HTTPS and WebSocket; SDKs know 443 only.
        https_fallback_port: taken where `https_port` cannot be bound; None makes that an error.
        control_port: the control API, always on 127.0.0.1.
    """

    addresses: tuple[str, ...] = ("127.0.0.1", "::1")
    mqtt_port: int = 8883
    https_port: int = 443
    https_fallback_port: int | None = 8443
    control_port: int = 8080


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The ports a running emulator got, and its process; the content of the wait file and of `run.json`."""

    pid: int
    mqtt_port: int
    https_port: int
    control_port: int
    ready: bool = True


class PortTaken(Exception):
    """A port cannot be bound; the message says by which option another one is chosen.

    Attributes:
        why: the first half of the message, without the advice.
    """

    def __init__(self, error: OSError, what: str, address: str, port: int, option: str) -> None:
        advice = f"choose another port with {option}"
        if error.errno == errno.EADDRINUSE:
            reason = "is in use by another program (another hublet?)"
            advice = f"stop that program or {advice}"
        elif error.errno == errno.EADDRNOTAVAIL:
            reason = "cannot be bound: the address is not one of this machine"
            advice = "choose another in bind_addresses"
        elif error.errno == errno.EACCES:
            reason = "may not be bound by this user"
        else:
            reason = f"cannot be bound ({error.strerror})"
        self.why = f"{what} port {port} on {address} {reason}"
        super().__init__(f"{self.why}: {advice}")


def reserve_port() -> socket.socket:
    """Take a loopback port that nobody has, and keep it from everybody else until the socket is closed.

    For the control port: certificates name it before anybody listens there. Whoever binds it with SO_REUSEADDR, as
    servers do, may listen on it meanwhile; the system gives it to no connection.
    """
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


def write_endpoints(path: Path, endpoints: Endpoints) -> None:
    """Write the ports to a file, atomically: who waits for the file never reads half of it."""
    write_atomic(path, (json.dumps(asdict(endpoints)) + "\n").encode())


def read_endpoints(path: Path) -> Endpoints | None:
    """Read what `write_endpoints` wrote; None when there is no such file."""
    try:
        return Endpoints(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
