"""The services as a device sees them, played in memory: no sockets, and a loop on which waiting takes no time."""

import asyncio
import base64
import json
import selectors
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from broker.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    PacketReader,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
    format_packet,
)
from certs.authority import CertificateAuthority
from certs.csr import decode_csr, parse_csr
from certs.keys import KeyType, generate_key
from device_sim.credential import ClientCertificate, SymmetricKey
from device_sim.errors import ServerUnreachable
from device_sim.settings import DeviceSettings
from device_sim.timer_wheel import TimerWheel

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DPS_HOST, HUB_HOST = "dps.example", "hub1.example"
KEY = base64.b64encode(bytes(range(64))).decode()
SETTINGS = DeviceSettings(id_scope="0ne00ABCDEF", dps_host=DPS_HOST)

Value = TypeVar("Value")


class TimelessLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next deadline instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__(_TimelessSelector(self))
        self.elapsed = 0.0

    def time(self) -> float:
        return self.elapsed


class _TimelessSelector(selectors.DefaultSelector):
    def __init__(self, loop: TimelessLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nothing is scheduled: the test would wait for ever"
        self._loop.elapsed += timeout
        return super().select(0)


def run_timeless(coroutine: Coroutine[Any, Any, Value]) -> tuple[Value, float]:
    """Run to the end; return the result and the seconds that a clock would have counted."""
    loop = TimelessLoop()
    try:
        result = loop.run_until_complete(asyncio.wait_for(coroutine, 100_000))
        return result, loop.elapsed
    finally:
        loop.close()


@dataclass(eq=False)
class Wire(asyncio.Transport):
    """The transport of one client, with the server's end in the same object; `answer` maps a packet to packets."""

    protocol: asyncio.Protocol
    answer: Callable[["Wire", Packet], list[Packet]]
    certificate: ClientCertificate | None = None
    connect: Connect | None = None
    received: list[Packet] = field(default_factory=list)
    closing: bool = False
    polls_left: int = 0
    chain: list[str] = field(default_factory=list)
    reader: PacketReader = field(default_factory=lambda: PacketReader(1_000_000))

    def write(self, data: Any) -> None:
        for packet in self.reader.feed(data):
            self.received.append(packet)
            if isinstance(packet, Connect):
                self.connect = packet
            self.send(*self.answer(self, packet))

    def send(self, *packets: Packet) -> None:
        for packet in packets:
            self.send_bytes(format_packet(packet))

    def send_bytes(self, data: bytes) -> None:
        asyncio.get_running_loop().call_soon(lambda: self.closing or self.protocol.data_received(data))

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    abort = close

    def is_closing(self) -> bool:
        return self.closing


def acknowledge(_wire: Wire, packet: Packet) -> list[Packet]:
    """Answer as a broker that has nothing to say."""
    match packet:
        case Connect():
            return [Connack(session_present=False, return_code=0)]
        case Subscribe():
            return [Suback(packet.packet_id, tuple(qos for _, qos in packet.topic_filters))]
        case Publish(packet_id=int(packet_id)):
            return [Puback(packet_id)]
        case Pingreq():
            return [Pingresp()]
    return []


def message(topic: str, body: object) -> Publish:
    """A message of a service."""
    return Publish(topic, json.dumps(body).encode())


def base64_der(certificate: Any) -> str:
    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()


class Cloud:
    """A DPS and a hub with one namespace, as a `Dialer` that opens wires to them.

    `polls` is how often a registration is still assigning; `reply` may replace the answer to a packet.
    """

    def __init__(self) -> None:
        self.root = CertificateAuthority.create_root("root", NOW)
        self.authority = self.root.issue_intermediate("ica", NOW)
        self.now = NOW
        self.validity = timedelta(days=30)
        self.polls = 1
        self.assigned_hub = HUB_HOST
        self.issues = True
        self.unreachable: set[str] = set()
        self.reply: Callable[[Wire, Packet], list[Packet] | None] = lambda _wire, _packet: None
        self.wires: list[Wire] = []
        self.registrations = 0
        self.timers = TimerWheel()

    def variant(self, **_: Any) -> "Cloud":
        return self

    async def open(
        self,
        host: str,
        port: int,
        protocol: asyncio.Protocol,
        certificate: ClientCertificate | None,
        seconds: float,
        *,
        is_brief: bool = False,
    ) -> Wire:
        if host in self.unreachable:
            raise ServerUnreachable(f"{host}:{port}: refused")
        wire = Wire(protocol, self._answer, certificate)
        self.wires.append(wire)
        protocol.connection_made(wire)
        return wire

    def issue(self, body: dict[str, Any], name: str) -> list[str]:
        request = parse_csr(decode_csr(body["csr"]), body[name])
        leaf = self.authority.issue_operational(
            body[name],
            request.public_key,
            UUID(int=1),
            self.now,
            validity=self.validity,
            crl_url="http://127.0.0.1/crl",
            issuer_url="http://127.0.0.1/ca",
        )
        return [base64_der(each) for each in (leaf, self.authority.certificate, self.root.certificate)]

    def _answer(self, wire: Wire, packet: Packet) -> list[Packet]:
        replaced = self.reply(wire, packet)
        if replaced is not None:
            return replaced
        if isinstance(packet, Disconnect):
            wire.close()
        answers = acknowledge(wire, packet)
        if isinstance(packet, Publish):
            answers += self._serve(wire, packet)
        return answers

    def _serve(self, wire: Wire, packet: Publish) -> list[Packet]:
        request_id = packet.topic.partition("$rid=")[2].partition("&")[0]
        if packet.topic.startswith("$dps/registrations/PUT/"):
            self.registrations += 1
            wire.polls_left = self.polls
            wire.chain = self.issue(json.loads(packet.payload), "registrationId") if self._wants(packet) else []
            return [self._assigning(request_id)]
        if packet.topic.startswith("$dps/registrations/GET/"):
            wire.polls_left -= 1
            return [self._assigning(request_id) if wire.polls_left else self._assigned(wire, request_id)]
        if packet.topic.startswith("$iothub/credentials/POST/"):
            return self._renew(request_id, json.loads(packet.payload))
        if packet.topic.startswith("$iothub/twin/PATCH/properties/reported/"):
            return [Publish(f"$iothub/twin/res/204/?$rid={request_id}&$version=2")]
        return []

    def _wants(self, packet: Publish) -> bool:
        return self.issues and "csr" in json.loads(packet.payload)

    def _assigning(self, request_id: str) -> Publish:
        topic = f"$dps/registrations/res/202/?$rid={request_id}&retry-after=3"
        return message(topic, {"operationId": "5.1.op", "status": "assigning"})

    def _assigned(self, wire: Wire, request_id: str) -> Publish:
        assert wire.connect is not None
        state: dict[str, Any] = {
            "assignedHub": self.assigned_hub,
            "deviceId": wire.connect.client_id,
            "substatus": "initialAssignment",
        }
        if wire.chain:
            state["issuedCertificateChain"] = wire.chain
        body = {"operationId": "5.1.op", "status": "assigned", "registrationState": state}
        return message(f"$dps/registrations/res/200/?$rid={request_id}", body)

    def _renew(self, request_id: str, body: dict[str, Any]) -> list[Packet]:
        topic = "$iothub/credentials/res/{}/?$rid=" + request_id
        return [
            message(topic.format(202), {"correlationId": "c", "operationExpires": "2026-11-24T00:00:00Z"}),
            message(topic.format(200), {"correlationId": "c", "certificates": self.issue(body, "id")}),
        ]

    def hub_wires(self) -> list[Wire]:
        """The connections to the hub, in the order in which they were made."""
        return [wire for wire in self.wires if wire.connect and (wire.connect.user_name or "").startswith(HUB_HOST)]

    def sent(self, kind: type[Value]) -> list[Value]:
        """What all clients together sent of one kind of packet."""
        return [packet for wire in self.wires for packet in wire.received if isinstance(packet, kind)]


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, Value]], tuple[Value, float]]:
    return run_timeless


@pytest.fixture
def settings() -> DeviceSettings:
    return SETTINGS


@pytest.fixture
def symmetric_key() -> SymmetricKey:
    return SymmetricKey("sensor-001", KEY)


@pytest.fixture(scope="session")
def onboarding_certificate() -> ClientCertificate:
    root = CertificateAuthority.create_root("factory root", NOW)
    line = root.issue_intermediate("factory line", NOW)
    key = generate_key(KeyType.P256)
    leaf = line.issue_onboarding("sensor-001", key.public_key(), NOW, validity=timedelta(days=365))
    return ClientCertificate((leaf, line.certificate, root.certificate), key)
